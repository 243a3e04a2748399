"""REST: what roles a tenant has."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpResponse
from ninja import Router, Status
from pydantic import BaseModel, Field

from portal.core.bodies import Body
from portal.core.etags import etag_of, find
from tenants.api.tenants import tenant_in_path
from tenants.listings import roles
from tenants.models import Role
from tenants.policy import Permission
from tenants.services.roles import Grants, role_create, role_delete, role_edit
from tenants.types import HttpRequest

router = Router(tags=["people and tokens"])
MANY = 100


class RoleOut(BaseModel):
    """What a role allows: `permissions` everywhere, `tagged` only on machines that wear one of `tags`."""

    id: str
    name: str
    built_in: bool
    permissions: list[str]
    tagged: list[str]
    tags: list[str]
    created_at: datetime


class RoleListing(BaseModel):
    """All roles."""

    items: list[RoleOut]
    next: None


class RoleIn(Body):
    """A role of the project's own; it can do no more than whoever makes it."""

    name: str = Field(max_length=40)
    permissions: list[str] = Field(default_factory=list, max_length=MANY, description="Hold everywhere.")
    tagged: list[str] = Field(
        default_factory=list, max_length=MANY, description="Those of `guest.…` that hold on tagged machines only."
    )
    tags: list[str] = Field(default_factory=list, max_length=20, description="A machine must wear one of them.")


class RolePatch(Body):
    """What changes; what is left out stays."""

    name: str | None = Field(default=None, max_length=40)
    permissions: list[str] | None = Field(default=None, max_length=MANY)
    tagged: list[str] | None = Field(default=None, max_length=MANY)
    tags: list[str] | None = Field(default=None, max_length=20)


def role_out(role: Role) -> RoleOut:
    """A role as JSON shows it."""
    return RoleOut(
        id=str(role.pk),
        name=role.name,
        built_in=role.tenant_id is None,
        permissions=sorted(role.permissions),
        tagged=sorted(role.tagged),
        tags=sorted(role.tags),
        created_at=role.created_at,
    )


def _shown(response: HttpResponse, role: Role) -> RoleOut:
    response["ETag"] = etag_of(role)
    return role_out(role)


@router.get("/roles", response=RoleListing, summary="List roles")
def role_list(request: HttpRequest) -> RoleListing:
    """Built-in roles, and the project's own."""
    request.actor.require(Permission.MEMBER_VIEW)
    return RoleListing(items=[role_out(role) for role in roles()], next=None)


@router.post("/roles", response={201: RoleOut}, summary="Create a role")
def role_post(request: HttpRequest, response: HttpResponse, body: RoleIn) -> Status[RoleOut]:
    """Built from permissions; some may hold on tagged machines only."""
    tenant = tenant_in_path(request)
    grants = Grants(body.permissions, body.tagged, body.tags)
    role = role_create(tenant, name=body.name, grants=grants, actor=request.actor)
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/roles/{role.pk}"
    return Status(201, _shown(response, role))


@router.get("/roles/{role_id}", response=RoleOut, summary="Get a role")
def role_get(request: HttpRequest, role_id: str, response: HttpResponse) -> RoleOut:
    """What it allows."""
    request.actor.require(Permission.MEMBER_VIEW)
    return _shown(response, find(request, roles(), role_id))


@router.patch("/roles/{role_id}", response=RoleOut, summary="Change a role")
def role_patch(request: HttpRequest, role_id: str, response: HttpResponse, body: RolePatch) -> RoleOut:
    """Holds at once for everybody who has it; what they have open is checked again."""
    request.actor.require(Permission.ROLE_MANAGE)
    role = find(request, roles(), role_id)
    grants = Grants(
        role.permissions if body.permissions is None else body.permissions,
        role.tagged if body.tagged is None else body.tagged,
        role.tags if body.tags is None else body.tags,
    )
    return _shown(response, role_edit(role, name=body.name, grants=grants, actor=request.actor))


@router.delete("/roles/{role_id}", response={204: None}, summary="Delete a role")
def role_delete_one(request: HttpRequest, role_id: str) -> Status[None]:
    """Only where nobody has it any more."""
    request.actor.require(Permission.ROLE_MANAGE)
    role_delete(find(request, roles(), role_id), actor=request.actor)
    return Status(204, None)
