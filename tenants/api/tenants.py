"""REST: one tenant, and for operators all of them; quota."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.http import HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from portal.core.bodies import Body, Listed, Listing, listed, narrowed
from portal.core.errors import FieldError, Invalid
from portal.core.etags import CHANGES, etag_of, if_match
from tenants.actors import system_actor
from tenants.api.limits import LimitsIn
from tenants.files import export_response
from tenants.listings import TENANT_SORTS, tenants_all
from tenants.models import Tenant, TenantState, User
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.ending import tenant_left
from tenants.services.members import member_add
from tenants.services.roles import role_named
from tenants.services.second_factor import tenant_require_second_factor
from tenants.services.tenants import (
    tenant_close,
    tenant_create,
    tenant_rename,
    tenant_reopen,
    tenant_suspend,
    tenant_unsuspend,
)
from tenants.types import HttpRequest

router = Router(tags=["tenants"])
operators = Router(tags=["operators: tenants"])


class TenantOut(BaseModel):
    """A project: what guests, networks and people belong to."""

    id: str
    slug: str
    name: str
    state: TenantState
    standing: TenantState = Field(description="The worse of its own state and that of the projects above it.")
    reason: str = Field(description="Why it is suspended or being closed.")
    purge_after: datetime | None = Field(description="When everything in a project that is being closed is removed.")
    parent: str | None
    timezone: str
    require_second_factor: bool
    bin_days: int
    created_at: datetime


class TenantQuery(Listing):
    """Filters of tenants."""

    sort: str = Field(default="slug", max_length=40, description="`slug`, `name`, `created_at`, or one with `-`")
    state: TenantState | None = None
    slug: str = Field(default="", max_length=40)


class TenantPatch(Body):
    """What can be changed of a project."""

    name: str | None = Field(default=None, max_length=200)
    require_second_factor: bool | None = Field(default=None, description="Nobody works here without one.")


class TenantIn(Body):
    """A project to be made; `owner` is the address of somebody who can sign in already."""

    slug: str = Field(max_length=40)
    name: str = Field(max_length=100)
    owner: str = Field(default="", max_length=254)
    parent: str = Field(default="", max_length=40, description="The project that it belongs to.")
    quota: LimitsIn = Field(default_factory=LimitsIn)


class ReasonIn(Body):
    """Why; the project's people read it, and it stands in the audit log."""

    reason: str = Field(default="", max_length=500)


class SuspendIn(ReasonIn):
    """Why, and what becomes of the machines: `stop` them or `keep` them running."""

    guests: Literal["stop", "keep"] = "stop"


class CloseIn(ReasonIn):
    """`confirm` is the project's short name, typed."""

    confirm: str = Field(max_length=40)


class LeftOut(BaseModel):
    """Something that a project still has; `why` is what its removal waits for."""

    kind: str
    name: str
    why: str


class LeavingsOut(BaseModel):
    """What a project that ends still has; it is closed when nothing is left."""

    purge_after: datetime | None
    items: list[LeftOut]


def tenant_out(tenant: Tenant) -> TenantOut:
    """A tenant as JSON shows it."""
    return TenantOut(
        id=str(tenant.pk),
        slug=tenant.slug,
        name=tenant.name,
        state=TenantState(tenant.state),
        standing=tenant.standing,
        reason=tenant.state_reason,
        purge_after=tenant.purge_after,
        parent=tenant.parent.slug if tenant.parent is not None else None,
        timezone=tenant.timezone,
        require_second_factor=tenant.require_second_factor,
        bin_days=tenant.bin_days,
        created_at=tenant.created_at,
    )


def tenant_in_path(request: HttpRequest) -> Tenant:
    """The tenant in the path."""
    assert request.actor.tenant is not None
    return request.actor.tenant


def own_tenant(request: HttpRequest) -> Tenant:
    """The tenant in the path, locked and compared where ``If-Match`` asks for it."""
    tenant = tenant_in_path(request)
    if request.method in CHANGES and "If-Match" in request.headers:
        tenant = Tenant.objects.select_for_update(of=("self",), no_key=True).get(pk=tenant.pk)
        if_match(request, etag_of(tenant))
    return tenant


def _shown(response: HttpResponse, tenant: Tenant) -> TenantOut:
    response["ETag"] = etag_of(tenant)
    return tenant_out(tenant)


@router.get("", response=TenantOut, summary="Get a project")
def tenant_get(request: HttpRequest, response: HttpResponse) -> TenantOut:
    """What it is called and whether it is active."""
    request.actor.require(Permission.TENANT_VIEW)
    return _shown(response, own_tenant(request))


@router.patch("", response=TenantOut, summary="Change a project")
def tenant_patch(request: HttpRequest, response: HttpResponse, body: TenantPatch) -> TenantOut:
    """Its name, and whether its people need a second factor. Its slug, and with it every address, stays."""
    request.actor.require(Permission.TENANT_EDIT)
    tenant = own_tenant(request)
    if body.name is not None:
        tenant = tenant_rename(tenant, name=body.name, actor=request.actor)
    if body.require_second_factor is not None:
        tenant = tenant_require_second_factor(tenant, required=body.require_second_factor, actor=request.actor)
    return _shown(response, tenant)


@router.post("/suspend", response=TenantOut, summary="Suspend a project (operators)")
def tenant_suspend_post(request: HttpRequest, response: HttpResponse, body: SuspendIn | None = None) -> TenantOut:
    """Its people, and those of the projects below it, may read, pay and export, nothing else; consoles close.

    What they asked for and has not begun is called off. Repeated, it changes the reason and what becomes of the machines.
    """
    asked = body or SuspendIn()
    tenant = tenant_suspend(own_tenant(request), reason=asked.reason, guests=asked.guests, actor=request.actor)
    return _shown(response, tenant)


@router.post("/unsuspend", response=TenantOut, summary="Take a project up again (operators)")
def tenant_unsuspend_post(request: HttpRequest, response: HttpResponse, body: ReasonIn | None = None) -> TenantOut:
    """Its people may work again; machines stay as they are."""
    reason = (body or ReasonIn()).reason
    return _shown(response, tenant_unsuspend(own_tenant(request), reason=reason, actor=request.actor))


@router.post("/close", response=TenantOut, summary="Close a project")
def tenant_close_post(request: HttpRequest, response: HttpResponse, body: CloseIn) -> TenantOut:
    """Its machines stop; it can be read, exported and reopened until `purge_after`, then everything in it is removed."""
    tenant = tenant_close(own_tenant(request), confirm=body.confirm, reason=body.reason, actor=request.actor)
    return _shown(response, tenant)


@router.post("/reopen", response=TenantOut, summary="Reopen a project")
def tenant_reopen_post(request: HttpRequest, response: HttpResponse, body: ReasonIn | None = None) -> TenantOut:
    """While `purge_after` has not passed; what an operator closed only an operator reopens."""
    reason = (body or ReasonIn()).reason
    return _shown(response, tenant_reopen(own_tenant(request), reason=reason, actor=request.actor))


@router.get("/leavings", response=LeavingsOut, summary="See what a project's end waits for")
def tenant_leavings(request: HttpRequest) -> LeavingsOut:
    """What is still there to be removed, and what keeps it: a host that does not answer, work that is not over."""
    request.actor.require(Permission.TENANT_CLOSE)
    tenant = tenant_in_path(request)
    items = [LeftOut(kind=left.kind, name=left.name, why=left.why) for left in tenant_left(tenant)]
    return LeavingsOut(purge_after=tenant.purge_after, items=items)


@router.get(
    "/export",
    summary="Get everything that a project has",
    openapi_extra={
        "responses": {
            200: {
                "description": "A line of JSON for each thing.",
                "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
            }
        }
    },
)
def tenant_export_get(request: HttpRequest) -> StreamingHttpResponse:
    """JSON lines: facts, members, machines, networks, volumes, images, keys, usage, the audit log; no secrets.

    The first line says which sections follow: those that the token may read. The last line is `{"end": true, "lines": N}`.
    """
    return export_response(tenant_in_path(request), request.actor)


@operators.get("/tenants", response=Listed[TenantOut], summary="List projects")
def tenant_list(request: HttpRequest, query: Query[TenantQuery]) -> dict[str, Any]:
    """All projects of this installation."""
    request.actor.require(Permission.OPERATE)
    rows = narrowed(tenants_all(), state=query.state, slug=query.slug)
    if query.q:
        rows = rows.filter(name__icontains=query.q) | rows.filter(slug__icontains=query.q)
    return listed(request, query, rows, sorts=TENANT_SORTS, out=tenant_out)


@operators.post("/tenants", response={201: TenantOut}, summary="Create a project")
def tenant_post(request: HttpRequest, response: HttpResponse, body: TenantIn) -> Status[TenantOut]:
    """With the default quota where none is given; the owner must be able to sign in already."""
    request.actor.require(Permission.OPERATE)
    owner = _owner(body.owner) if body.owner else None
    limits = body.quota.model_dump(exclude_unset=True)
    parent = _parent(body.parent) if body.parent else None
    tenant = tenant_create(slug=body.slug, name=body.name, parent=parent, limits=limits, actor=request.actor)
    if owner is not None:
        with tenant_scope(tenant):
            member_add(tenant, owner, role=role_named("owner"), actor=system_actor(tenant, why="rest"))
    response["Location"] = f"/api/v1/tenants/{tenant.slug}"
    return Status(201, _shown(response, tenant))


def _parent(slug: str) -> Tenant:
    parent = Tenant.objects.filter(slug=slug).exclude(state=TenantState.CLOSED).first()
    if parent is None:
        raise Invalid(errors=[FieldError("/parent", "unknown", _("There is no such project."))])
    return parent


def _owner(email: str) -> User:
    user = User.objects.filter(email__iexact=email.strip(), is_active=True).first()
    if user is None:
        raise Invalid(errors=[FieldError("/owner", "unknown", _("Nobody with this address can sign in."))])
    return user
