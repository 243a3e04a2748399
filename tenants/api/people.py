"""REST: members, roles and tokens of a tenant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Status
from pydantic import AwareDatetime, BaseModel, Field

from portal.core.bodies import Body, Listed, Listing, listed, narrowed
from portal.core.errors import FieldError, Invalid
from portal.core.etags import etag_of, find
from tenants.api.tenants import tenant_in_path
from tenants.listings import MEMBER_SORTS, TOKEN_SORTS, members, tokens
from tenants.models import ApiToken, Member, Role, User
from tenants.policy import Permission
from tenants.services.members import member_add, member_remove, member_set_role, role_named
from tenants.services.tokens import token_create, token_revoke
from tenants.types import HttpRequest

router = Router(tags=["people and tokens"])


class PersonOut(BaseModel):
    """Somebody, as their fellow members see them."""

    id: str
    email: str
    name: str


class MemberOut(BaseModel):
    """A person in this project."""

    id: str
    user: PersonOut
    role: str
    created_at: datetime


class MemberQuery(Listing):
    """Filters of members."""

    sort: str = Field(default="created_at", max_length=40, description="`created_at`, `-created_at`")
    role: str = Field(default="", max_length=40)
    email: str = Field(default="", max_length=254)


class MemberIn(Body):
    """Somebody who can sign in already, and their role here."""

    email: str = Field(max_length=254)
    role: str = Field(max_length=40)


class MemberPatch(Body):
    """Another role."""

    role: str = Field(max_length=40)


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


class TokenOut(BaseModel):
    """A bearer token for this project; `permissions` null is whatever its owner may."""

    id: str
    name: str
    prefix: str
    user: PersonOut
    permissions: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewTokenOut(TokenOut):
    """A fresh token; `token` is shown this once."""

    token: str


class TokenQuery(Listing):
    """Filters of tokens."""

    sort: str = Field(default="-created_at", max_length=40, description="`created_at`, `name`, or one with `-`")
    revoked: bool | None = Field(default=None, description="Only revoked ones, or only those that are not.")


class TokenIn(Body):
    """A token to be made; it can do no more than its owner may at the time."""

    name: str = Field(max_length=64)
    permissions: list[str] | None = Field(default=None, max_length=100)
    expires_at: AwareDatetime | None = None


def _person(user: User) -> PersonOut:
    return PersonOut(id=str(user.pk), email=user.email, name=user.name)


def member_out(member: Member) -> MemberOut:
    """A member as JSON shows it."""
    return MemberOut(id=str(member.pk), user=_person(member.user), role=member.role.name, created_at=member.created_at)


def _shown(response: HttpResponse, member: Member) -> MemberOut:
    response["ETag"] = etag_of(member)
    return member_out(member)


def _member(request: HttpRequest, member_id: str) -> Member:
    return find(request, members(tenant_in_path(request)), member_id)


@router.get("/members", response=Listed[MemberOut], summary="List members")
def member_list(request: HttpRequest, query: Query[MemberQuery]) -> dict[str, Any]:
    """Who belongs to this project."""
    request.actor.require(Permission.MEMBER_VIEW)
    rows = narrowed(members(tenant_in_path(request)), role__name=query.role, user__email__iexact=query.email)
    if query.q:
        rows = rows.filter(user__email__icontains=query.q) | rows.filter(user__name__icontains=query.q)
    return listed(request, query, rows, sorts=MEMBER_SORTS, out=member_out)


@router.post("/members", response={201: MemberOut}, summary="Add a member")
def member_post(request: HttpRequest, response: HttpResponse, body: MemberIn) -> Status[MemberOut]:
    """Let somebody in who can sign in already."""
    request.actor.require(Permission.MEMBER_MANAGE)
    user = User.objects.filter(email__iexact=body.email.strip(), is_active=True).first()
    if user is None:
        raise Invalid(errors=[FieldError("/email", "unknown", _("Nobody with this address can sign in."))])
    tenant = tenant_in_path(request)
    member = member_add(tenant, user, role=role_named(body.role), actor=request.actor)
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/members/{member.pk}"
    return Status(201, _shown(response, member))


@router.get("/members/{member_id}", response=MemberOut, summary="Get a member")
def member_get(request: HttpRequest, member_id: str, response: HttpResponse) -> MemberOut:
    """One person in this project."""
    request.actor.require(Permission.MEMBER_VIEW)
    return _shown(response, _member(request, member_id))


@router.patch("/members/{member_id}", response=MemberOut, summary="Give a member another role")
def member_patch(request: HttpRequest, member_id: str, response: HttpResponse, body: MemberPatch) -> MemberOut:
    """What they have open is checked again at once; the last owner stays one."""
    member = _member(request, member_id)
    request.actor.require(Permission.MEMBER_MANAGE)
    return _shown(response, member_set_role(member, role=role_named(body.role), actor=request.actor))


@router.delete("/members/{member_id}", response={204: None}, summary="Remove a member")
def member_delete(request: HttpRequest, member_id: str) -> Status[None]:
    """Their sessions in this project and open consoles close at once."""
    member_remove(_member(request, member_id), actor=request.actor)
    return Status(204, None)


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


def _token_facts(token: ApiToken) -> dict[str, Any]:
    return {
        "id": str(token.pk),
        "name": token.name,
        "prefix": token.prefix,
        "user": _person(token.user),
        "permissions": token.permissions,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "revoked_at": token.revoked_at,
    }


@router.get("/tokens", response=Listed[TokenOut], summary="List tokens")
def token_list(request: HttpRequest, query: Query[TokenQuery]) -> dict[str, Any]:
    """Tokens that open this project; never their secrets."""
    request.actor.require(Permission.TOKEN_VIEW)
    unset = None if query.revoked is None else not query.revoked
    rows = narrowed(tokens(tenant_in_path(request)), revoked_at__isnull=unset, name__icontains=query.q)
    return listed(request, query, rows, sorts=TOKEN_SORTS, out=lambda row: TokenOut(**_token_facts(row)))


@router.post("/tokens", response={201: NewTokenOut}, summary="Create a token")
def token_post(request: HttpRequest, response: HttpResponse, body: TokenIn) -> Status[NewTokenOut]:
    """For yourself, for this project; its text is in this answer and nowhere else."""
    user, tenant = request.actor.user, tenant_in_path(request)
    assert user is not None
    token, raw = token_create(
        user,
        name=body.name,
        actor=request.actor,
        tenant=tenant,
        permissions=body.permissions,
        expires_at=body.expires_at,
    )
    response["ETag"] = etag_of(token)
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/tokens/{token.pk}"
    return Status(201, NewTokenOut(**_token_facts(token), token=raw))


@router.get("/tokens/{token_id}", response=TokenOut, summary="Get a token")
def token_get(request: HttpRequest, token_id: str, response: HttpResponse) -> TokenOut:
    """What it is and when it was used; never its secret."""
    request.actor.require(Permission.TOKEN_VIEW)
    token = find(request, tokens(tenant_in_path(request)), token_id)
    response["ETag"] = etag_of(token)
    return TokenOut(**_token_facts(token))


@router.delete("/tokens/{token_id}", response={204: None}, summary="Revoke a token")
def token_delete(request: HttpRequest, token_id: str) -> Status[None]:
    """It opens nothing from now on, and consoles opened by it close."""
    token_revoke(find(request, tokens(tenant_in_path(request)), token_id), actor=request.actor)
    return Status(204, None)
