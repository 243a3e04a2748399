"""The REST API: every router in its place, one way in, one shape of refusal."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.http import Http404, HttpResponse
from django.urls import URLPattern, URLResolver, path
from ninja import NinjaAPI, Router
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.operation import Operation
from ninja.parser import Parser

import billing.api.prices
import billing.api.statements
import billing.api.usage
import operations.api
import tenants.api.audit
import tenants.api.invitations
import tenants.api.journal
import tenants.api.me
import tenants.api.members
import tenants.api.notices
import tenants.api.quota
import tenants.api.quota_requests
import tenants.api.roles
import tenants.api.sign_in
import tenants.api.tenants
import tenants.api.tokens
import vms.api.addresses
import vms.api.backup_schedules
import vms.api.backups
import vms.api.copies
import vms.api.discs
import vms.api.disk_exports
import vms.api.fabrics
import vms.api.flavors
import vms.api.guest_inside
import vms.api.guest_life
import vms.api.guest_timing
import vms.api.guests
import vms.api.host_pools
import vms.api.hosts
import vms.api.image_catalogue
import vms.api.image_tests
import vms.api.image_uploads
import vms.api.images
import vms.api.keys
import vms.api.metrics
import vms.api.networks
import vms.api.placement_groups
import vms.api.placements
import vms.api.pools
import vms.api.ports
import vms.api.reachability
import vms.api.restores
import vms.api.security_groups
import vms.api.snapshots
import vms.api.storage_classes
import vms.api.volumes
from portal.api_docs import docs
from portal.core.bodies import read_json
from portal.core.errors import FieldError, Invalid, Missing, PortalError
from portal.core.problems import Unauthenticated
from portal.guard import failure, guarded
from portal.openapi import WORDS, completed
from tenants.middleware import refuse_unknown_tenant
from tenants.types import HttpRequest

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Bearer:
    """Default deny: a live token (``tenants.middleware`` has looked), and a tenant that its owner has to do with."""

    openapi_security_schema = {"type": "http", "scheme": "bearer"}

    def __call__(self, request: HttpRequest) -> bool:
        if not request.actor.token_id:
            return False
        refuse_unknown_tenant(request)
        return True


class ReadAlready(Parser):
    """Hands on the body that the guard has read and found sane."""

    def parse_body(self, request: Any) -> Any:
        return request.json if hasattr(request, "json") else read_json(request)


class Api(NinjaAPI):
    """Every view behind the guard, but the document and its page, which anybody may read."""

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document; the same for as long as the process lives."""
        return completed(super().get_openapi_schema())

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        """What the framework serves as ``openapi.json``."""
        return self.document

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """The endpoint's name; a test holds them apart."""
        return operation.view_func.__name__

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        urls = super()._get_urls()
        for pattern in urls:
            if isinstance(pattern, URLPattern) and pattern.name != "openapi-json":
                pattern.callback = guarded(pattern.callback)
        return [path("docs", docs, name="docs"), *urls]


api = Api(
    title="Guesthouse",
    description=WORDS,
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
for nouns in (
    tenants.api.tenants,
    vms.api.guests,
    vms.api.discs,
    vms.api.guest_life,
    vms.api.guest_timing,
    vms.api.guest_inside,
    operations.api,
    vms.api.images,
    vms.api.image_tests,
    vms.api.image_uploads,
    vms.api.networks,
    vms.api.security_groups,
    vms.api.placement_groups,
    vms.api.reachability,
    vms.api.addresses,
    vms.api.ports,
    vms.api.volumes,
    vms.api.backups,
    vms.api.restores,
    vms.api.backup_schedules,
    vms.api.snapshots,
    vms.api.copies,
    vms.api.disk_exports,
    vms.api.keys,
    vms.api.metrics,
    tenants.api.members,
    tenants.api.invitations,
    tenants.api.quota,
    tenants.api.quota_requests,
    tenants.api.roles,
    tenants.api.tokens,
    tenants.api.audit,
    tenants.api.journal,
):
    api.add_router(TENANT, nouns.router)
for shared in (
    tenants.api.me.router,
    tenants.api.notices.router,
    vms.api.fabrics.router,
    vms.api.flavors.router,
    vms.api.storage_classes.router,
    tenants.api.tenants.operators,
    tenants.api.quota.operators,
    tenants.api.quota_requests.operators,
    tenants.api.audit.operators,
    tenants.api.sign_in.operators,
    operations.api.operators,
    vms.api.images.operators,
    vms.api.image_tests.operators,
    vms.api.image_catalogue.operators,
    vms.api.hosts.router,
    vms.api.host_pools.router,
    vms.api.placements.router,
    vms.api.addresses.operators,
    vms.api.backups.operators,
    vms.api.pools.router,
    billing.api.prices.router,
    billing.api.statements.router,
    billing.api.usage.router,
):
    api.add_router("", shared)


elsewhere = Router()


@elsewhere.api_operation(METHODS, "/{path:rest}", include_in_schema=False)
def nothing_here(request: HttpRequest, rest: str) -> None:
    """Any other path; mounted last."""
    raise Missing


api.add_router("", elsewhere)
