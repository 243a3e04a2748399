"""What every REST request passes, around its endpoint: who asks, how often, a sane body, and one transaction for a change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import wraps
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _

from portal.core.bodies import check_text, read_json
from portal.core.database import will_pass
from portal.core.errors import Broken, Invalid, Missing, PortalError, TooMany, Unreachable
from portal.core.problems import problem_response
from portal.core.rates import Allowance, rates_count
from tenants.actors import Actor
from tenants.services.idempotency import answer_body, answer_claim, answer_keep
from tenants.types import HttpRequest

log = structlog.get_logger(__name__)
View = Callable[..., HttpResponse]
KEPT_HEADERS: Final = ("Location", "ETag", "Content-Type")
NOT_REPEATED: Final = "/console"
"""A ticket lives for seconds and opens once: an old answer would be of no use."""
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
TAKES_BYTES: Final = re.compile(r"/image-uploads/[^/]+\Z")
"""Where a PATCH carries bytes, which the endpoint reads itself, instead of JSON."""


class NotAllowed(PortalError):
    """The path is right, the method is not."""

    code = "method_not_allowed"
    http_status = 405
    message = "This cannot be done here."


def guarded(view: View) -> View:
    """``view`` behind the limits, with problems for answers, and all or nothing of what it changes."""

    @wraps(view)
    def inner(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        head = request.method == "HEAD"
        if head:
            request.method = "GET"
        allowances = _allowances(request.actor)
        try:
            _refuse_flood(allowances)
            _check_query(request)
            response = _whole(view, request, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  (the last net: logged, and shown as a problem)
            response = failure(request, error)
        if response.status_code == NotAllowed.http_status:
            allow = response["Allow"]
            response = problem_response(request, NotAllowed())
            response["Allow"] = allow
        _tell_limits(response, allowances)
        response["Cache-Control"] = "no-store"
        if head:
            _leave_empty(response)
        return response

    inner.csrf_exempt = True  # type: ignore[attr-defined]
    return inner


def _leave_empty(response: HttpResponse) -> None:
    """Nothing but the headers, whether the body is there already or still to come."""
    if response.streaming:
        response.streaming_content = ()  # type: ignore[attr-defined]
    else:
        response.content = b""


def failure(request: HttpRequest, error: Exception) -> HttpResponse:
    """Any exception as a problem; what is not a refusal goes to the log and shows nothing of itself."""
    if will_pass(error):
        log.error("database_error", exc_info=error)
        error = Unreachable()
    if isinstance(error, Http404):
        error = Missing()
    if not isinstance(error, PortalError):
        log.error("request_failed", path=request.path, exc_info=error)
        error = Broken()
    elif error.http_status >= 500:
        log.warning("request_refused", path=request.path, code=error.code, details=str(error.details))
    return problem_response(request, error)


def _whole(view: View, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
    """Run the view; if it may change something, in one transaction that an answer of 400 and above undoes."""
    if request.method in SAFE:
        return view(request, *args, **kwargs)
    bare = request.method == "PATCH" and request.content_type == "application/octet-stream"
    request.json = None if bare and TAKES_BYTES.search(request.path) else read_json(request)  # type: ignore[attr-defined]
    with transaction.atomic():
        response = _once(view, request, *args, **kwargs)
        if response.status_code >= 400:
            transaction.set_rollback(True)
    return response


def _once(view: View, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
    """A POST with an Idempotency-Key is done once; repeated, it gives the first answer again."""
    key = request.headers.get("Idempotency-Key")
    known = request.actor.token_id and not getattr(request, "no_such_tenant", False)
    if key is None or request.method != "POST" or not known or request.path.endswith(NOT_REPEATED):
        return view(request, *args, **kwargs)
    asked = [str(request.method), request.path, request.META.get("QUERY_STRING", "")]
    digest = hashlib.sha256("\n".join(asked).encode() + b"\n" + request.body).hexdigest()
    row, fresh = answer_claim(caller=UUID(request.actor.token_id), key=key, digest=digest)
    if not fresh:
        response = HttpResponse(answer_body(row), status=row.status, headers=row.headers)
        response["Idempotent-Replayed"] = "true"
        return response
    response = view(request, *args, **kwargs)
    if response.status_code < 400:
        headers = {name: response[name] for name in KEPT_HEADERS if name in response}
        answer_keep(row, status=response.status_code, headers=headers, body=response.content)
    return response


def _check_query(request: HttpRequest) -> None:
    for name, values in request.GET.lists():
        for text in (name, *values):
            check_text(text, f"/{name}")
    if len(request.META.get("QUERY_STRING", "")) > 8192:
        raise Invalid(_("The query is too long."), code="too_long")


def _allowances(actor: Actor) -> list[Allowance]:
    """This request counted against its token's and its tenant's limit; nobody's is not counted."""
    limits = []
    if actor.token_id:
        limits.append((f"token:{actor.token_id}", settings.API_RATE_PER_MINUTE))
    if actor.token_id and actor.tenant is not None and not actor.is_operator:
        limits.append((f"tenant:{actor.tenant.pk}", settings.API_TENANT_RATE_PER_MINUTE))
    return rates_count(limits) if limits else []


def _refuse_flood(allowances: list[Allowance]) -> None:
    for allowance in allowances:
        if allowance.exceeded:
            raise TooMany(retry_after_s=allowance.reset_s)


def _tell_limits(response: HttpResponse, allowances: list[Allowance]) -> None:
    if not allowances:
        return
    tightest = min(allowances, key=lambda allowance: allowance.remaining)
    response["RateLimit-Limit"] = str(tightest.limit)
    response["RateLimit-Remaining"] = str(tightest.remaining)
    response["RateLimit-Reset"] = str(tightest.reset_s)
