"""The REST API: every router in its place, one way in, one shape of refusal."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse
from django.urls import URLPattern, URLResolver
from ninja import NinjaAPI, Router
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser

import operations.api
import vms.api.guests
from portal.core.bodies import read_json
from portal.core.errors import FieldError, Invalid, Missing, PortalError
from portal.core.problems import Unauthenticated
from portal.guard import failure, guarded
from tenants.middleware import refuse_unknown_tenant
from tenants.types import HttpRequest

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Bearer:
    """Default deny: a live token (``tenants.middleware`` has looked), and a tenant that its owner has to do with."""

    openapi_security_schema = {"type": "http", "scheme": "bearer"}

    def __call__(self, request: HttpRequest) -> bool:
        if request.actor.user is None:
            return False
        refuse_unknown_tenant(request)
        return True


class ReadAlready(Parser):
    """Hands on the body that the guard has read and found sane."""

    def parse_body(self, request: Any) -> Any:
        return request.json if hasattr(request, "json") else read_json(request)


class Api(NinjaAPI):
    """Every view behind the guard."""

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        urls = super()._get_urls()
        for pattern in urls:
            if isinstance(pattern, URLPattern) and pattern.name != "openapi-json":
                pattern.callback = guarded(pattern.callback)
        return urls


api = Api(
    title="Guesthouse",
    version="1",
    urls_namespace="api",
    docs_url=None,
    auth=[Bearer()],
    parser=ReadAlready(),
)


@api.exception_handler(Exception)
def problem(request: Any, error: Any) -> HttpResponse:
    """Whatever an endpoint raised, as a problem."""
    return failure(request, _refusal(error))


def _refusal(error: Exception) -> Exception:
    """The framework's own refusals as ours."""
    if isinstance(error, PortalError):
        return error
    if isinstance(error, AuthenticationError):
        return Unauthenticated()
    if isinstance(error, ValidationError):
        return _faults(error)
    if isinstance(error, HttpError) and error.status_code == 400:
        return Invalid()
    return error


def _faults(error: ValidationError) -> PortalError:
    """Each fault with a pointer into the body, or the name of the parameter; a bad path leads nowhere."""
    faults = []
    for fault in error.errors:
        source, *place = fault["loc"]
        if source == "path":
            return Missing()
        pointer = "".join(f"/{part}" for part in (place[1:] if source == "body" else place))
        faults.append(FieldError(pointer, fault["type"], fault["msg"]))
    return Invalid(errors=faults)


for handled in (Http404, HttpError, ValidationError):
    api.add_exception_handler(handled, problem)

TENANT = "/tenants/{tenant}"
api.add_router(TENANT, vms.api.guests.router)
api.add_router(TENANT, operations.api.router)
api.add_router("", operations.api.operators)


elsewhere = Router()


@elsewhere.api_operation(METHODS, "/{path:rest}", include_in_schema=False)
def nothing_here(request: HttpRequest, rest: str) -> None:
    """Any other path; mounted last."""
    raise Missing


api.add_router("", elsewhere)
