"""A request id for every request, and refusals turned into pages or partials."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from portal.core.addresses import caller_address
from portal.core.errors import PortalError
from portal.core.problems import problem_response

log = structlog.get_logger(__name__)
_GIVEN = re.compile(r"\A[A-Za-z0-9._-]{8,40}\Z")


def client_address(request: HttpRequest) -> str:
    """The caller's address: the connection's, or what ``TRUSTED_PROXIES`` hops say; never a header we were not told to trust."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return caller_address(str(request.META.get("REMOTE_ADDR", "")), forwarded, hops=settings.TRUSTED_PROXIES)


class RequestIdMiddleware:
    """Gives each request an id (or keeps a well-formed one), binds it to the log, and returns it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-Id", "")
        request.request_id = given if _GIVEN.match(given) else uuid.uuid4().hex  # type: ignore[attr-defined]
        with structlog.contextvars.bound_contextvars(request_id=request.request_id):  # type: ignore[attr-defined]
            response = self.get_response(request)
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        return response


class PortalErrorMiddleware:
    """Turns a ``PortalError`` that a view let pass into an error page, a note for a partial, or a problem for a script."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, PortalError):
            return None
        if error.http_status >= 500:
            log.warning("request_refused", code=error.code, path=request.path)
        if request.headers.get("Accept") == "application/json":
            return problem_response(request, error)
        context: dict[str, Any] = {"error": error, "status": error.http_status}
        if request.headers.get("HX-Request") == "true":
            return render(request, "errors/_note.html", context, status=error.http_status)
        return render(request, "errors/refusal.html", context, status=error.http_status)
