"""REST: what roles a tenant has."""

from __future__ import annotations

from ninja import Router
from pydantic import BaseModel

from tenants.models import Role
from tenants.policy import Permission
from tenants.types import HttpRequest

router = Router(tags=["people and tokens"])


class RoleOut(BaseModel):
    """What a role allows; with `tags`, only on machines that wear one of them."""

    name: str
    built_in: bool
    permissions: list[str]
    tags: list[str]


class RoleListing(BaseModel):
    """All roles."""

    items: list[RoleOut]
    next: None


@router.get("/roles", response=RoleListing, summary="List roles")
def role_list(request: HttpRequest) -> RoleListing:
    """Built-in roles, and the project's own."""
    request.actor.require(Permission.MEMBER_VIEW)
    rows = Role.objects.order_by("tenant_id", "name")
    return RoleListing(
        items=[
            RoleOut(name=r.name, built_in=r.tenant_id is None, permissions=sorted(r.permissions), tags=r.tags)
            for r in rows
        ],
        next=None,
    )
