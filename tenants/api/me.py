"""REST: who am I, and where may I go?"""

from __future__ import annotations

from datetime import datetime

from ninja import Router
from pydantic import BaseModel, Field

from tenants.listings import memberships_of, token_of
from tenants.models import TenantState
from tenants.types import HttpRequest

router = Router(tags=["me"])


class UserOut(BaseModel):
    """A person."""

    id: str
    email: str
    name: str
    timezone: str
    language: str
    operator: bool


class MembershipOut(BaseModel):
    """A project of mine, and what I am there."""

    id: str
    slug: str
    name: str
    state: TenantState
    role: str
    permissions: list[str]


class MyTokenOut(BaseModel):
    """The token this request came with; `permissions` null is whatever its owner may."""

    id: str
    name: str
    prefix: str
    tenant: str | None
    permissions: list[str] | None
    expires_at: datetime | None


class MeOut(BaseModel):
    """Who asks; no person stands behind a service token."""

    user: UserOut | None
    tenants: list[MembershipOut] = Field(description="Those this token opens.")
    token: MyTokenOut


@router.get("/me", response=MeOut, summary="Who am I?")
def me_get(request: HttpRequest) -> MeOut:
    """The person behind the token, their projects and roles, and the token's own limits."""
    user, token = request.actor.user, token_of(request.actor)
    assert token is not None
    mine = [m for m in memberships_of(user) if token.tenant_id in (None, m.tenant_id)] if user is not None else []
    return MeOut(
        user=UserOut(
            id=str(user.pk),
            email=user.email,
            name=user.name,
            timezone=user.timezone,
            language=user.language,
            operator=user.is_staff,
        )
        if user is not None
        else None,
        tenants=[
            MembershipOut(
                id=str(m.tenant_id),
                slug=m.tenant.slug,
                name=m.tenant.name,
                state=TenantState(m.tenant.state),
                role=m.role.name,
                permissions=sorted(m.role.permissions),
            )
            for m in mine
        ],
        token=MyTokenOut(
            id=str(token.pk),
            name=token.name,
            prefix=token.prefix,
            tenant=token.tenant.slug if token.tenant is not None else None,
            permissions=token.permissions,
            expires_at=token.expires_at,
        ),
    )
