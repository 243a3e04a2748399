"""REST: one tenant, and for operators all of them; quota."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictInt

from portal.core.bodies import Body, Listed, Listing, listed, narrowed
from portal.core.errors import FieldError, Invalid
from portal.core.etags import CHANGES, etag_of, if_match
from tenants.actors import system_actor
from tenants.listings import TENANT_SORTS, quota_rows, tenants_all
from tenants.models import Quota, Tenant, TenantState, User
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.members import member_add, role_named
from tenants.services.quota import quota_set
from tenants.services.tenants import tenant_create, tenant_rename, tenant_suspend, tenant_unsuspend
from tenants.types import HttpRequest

router = Router(tags=["tenants"])
operators = Router(tags=["operators: tenants"])
Limit = StrictInt | None
LIMIT = Field(default=None, ge=0, le=2**53 - 1, description="null is no limit.")


class TenantOut(BaseModel):
    """A project: what guests, networks and people belong to."""

    id: str
    slug: str
    name: str
    state: TenantState
    parent: str | None
    timezone: str
    bin_days: int
    created_at: datetime


class TenantQuery(Listing):
    """Filters of tenants."""

    sort: str = Field(default="slug", max_length=40, description="`slug`, `name`, `created_at`, or one with `-`")
    state: TenantState | None = None
    slug: str = Field(default="", max_length=40)


class TenantPatch(Body):
    """What can be changed of a project."""

    name: str = Field(max_length=200)


class LimitsIn(Body):
    """Limits by resource; what is left out stays, null is no limit."""

    guests: Limit = LIMIT
    vcpus: Limit = LIMIT
    memory_mib: Limit = LIMIT
    disk_gib: Limit = LIMIT
    volumes: Limit = LIMIT
    snapshots: Limit = LIMIT
    networks: Limit = LIMIT
    addresses: Limit = LIMIT


class TenantIn(Body):
    """A project to be made; `owner` is the address of somebody who can sign in already."""

    slug: str = Field(max_length=40)
    name: str = Field(max_length=100)
    owner: str = Field(default="", max_length=254)
    quota: LimitsIn = Field(default_factory=LimitsIn)


class ReasonIn(Body):
    """Why; it stands in the audit log."""

    reason: str = Field(default="", max_length=500)


class QuotaLine(BaseModel):
    """One resource: what is in use, and how much may be."""

    name: str
    used: int
    limit: int | None


class QuotaOut(BaseModel):
    """All limits of a project, its children's use included."""

    quota: list[QuotaLine]


def tenant_out(tenant: Tenant) -> TenantOut:
    """A tenant as JSON shows it."""
    return TenantOut(
        id=str(tenant.pk),
        slug=tenant.slug,
        name=tenant.name,
        state=TenantState(tenant.state),
        parent=tenant.parent.slug if tenant.parent is not None else None,
        timezone=tenant.timezone,
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


@router.patch("", response=TenantOut, summary="Rename a project")
def tenant_patch(request: HttpRequest, response: HttpResponse, body: TenantPatch) -> TenantOut:
    """Its slug, and with it every address, stays."""
    return _shown(response, tenant_rename(own_tenant(request), name=body.name, actor=request.actor))


@router.post("/suspend", response=TenantOut, summary="Suspend a project (operators)")
def tenant_suspend_post(request: HttpRequest, response: HttpResponse, body: ReasonIn | None = None) -> TenantOut:
    """Its people may only look, its machines are stopped, consoles close."""
    reason = (body or ReasonIn()).reason
    return _shown(response, tenant_suspend(own_tenant(request), reason=reason, actor=request.actor))


@router.post("/unsuspend", response=TenantOut, summary="Take a project up again (operators)")
def tenant_unsuspend_post(request: HttpRequest, response: HttpResponse, body: ReasonIn | None = None) -> TenantOut:
    """Its people may work again; machines stay as they are."""
    reason = (body or ReasonIn()).reason
    return _shown(response, tenant_unsuspend(own_tenant(request), reason=reason, actor=request.actor))


def _quota_etag(tenant: Tenant, rows: list[Quota]) -> str:
    """Changes with the limits, not with what is in use."""
    limits = ";".join(f"{row.resource}={row.limit}" for row in rows)
    return f'"quota-{tenant.pk}-{hashlib.sha256(limits.encode()).hexdigest()[:16]}"'


def _quota(request: HttpRequest, response: HttpResponse) -> QuotaOut:
    tenant = tenant_in_path(request)
    rows = quota_rows(tenant)
    response["ETag"] = _quota_etag(tenant, rows)
    return QuotaOut(quota=[QuotaLine(name=row.resource, used=row.used, limit=row.limit) for row in rows])


@router.get("/quota", response=QuotaOut, summary="Get the quota")
def quota_get(request: HttpRequest, response: HttpResponse) -> QuotaOut:
    """What is in use and how much may be."""
    request.actor.require(Permission.QUOTA_VIEW)
    return _quota(request, response)


@router.patch("/quota", response=QuotaOut, summary="Change the quota (operators)")
def quota_patch(request: HttpRequest, response: HttpResponse, body: LimitsIn) -> QuotaOut:
    """A limit below what is in use stops new things, never running ones."""
    request.actor.require(Permission.OPERATE)
    tenant = tenant_in_path(request)
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    if_match(request, _quota_etag(tenant, quota_rows(tenant)))
    quota_set(tenant, body.model_dump(exclude_unset=True), actor=request.actor)
    return _quota(request, response)


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
    tenant = tenant_create(slug=body.slug, name=body.name, limits=limits, actor=request.actor)
    if owner is not None:
        with tenant_scope(tenant):
            member_add(tenant, owner, role=role_named("owner"), actor=system_actor(tenant, why="rest"))
    response["Location"] = f"/api/v1/tenants/{tenant.slug}"
    return Status(201, _shown(response, tenant))


def _owner(email: str) -> User:
    user = User.objects.filter(email__iexact=email.strip(), is_active=True).first()
    if user is None:
        raise Invalid(errors=[FieldError("/owner", "unknown", _("Nobody with this address can sign in."))])
    return user
