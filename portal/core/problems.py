"""Refusals as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse

from portal.core.errors import PortalError

CONTENT_TYPE = "application/problem+json"


class Unauthenticated(PortalError):
    """No token, or a dead one."""

    code = "unauthenticated"
    http_status = 401
    message = "A valid bearer token is needed."


def problem(error: PortalError, *, request_id: str = "") -> dict[str, Any]:
    """What a client is told; never a detail, which may be meant for the log."""
    body: dict[str, Any] = {
        "type": f"urn:guesthouse:error:{error.code}",
        "title": HTTPStatus(error.http_status).phrase,
        "status": error.http_status,
        "detail": error.sentence,
        "code": error.code,
        "errors": [{"pointer": e.pointer, "code": e.code, "message": str(e.message)} for e in error.errors],
        "request_id": request_id,
    }
    if error.advice:
        body["hint"] = error.advice
    return body


def problem_response(request: HttpRequest, error: PortalError) -> HttpResponse:
    """The answer to a refused request; a refusal for now says when to try again."""
    body = problem(error, request_id=getattr(request, "request_id", ""))
    response = HttpResponse(json.dumps(body), status=error.http_status, content_type=CONTENT_TYPE)
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="guesthouse"'
    if error.http_status == HTTPStatus.TOO_MANY_REQUESTS:
        response["Retry-After"] = str(max(1, math.ceil(error.details.get("retry_after_s", 1))))
    return response
