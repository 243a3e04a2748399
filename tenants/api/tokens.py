"""REST: tokens of a tenant."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from django.db.models import Q
from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from portal.core.bodies import Body, Listed, Listing, Moment, listed
from portal.core.etags import etag_of, find
from tenants.api.people import PersonOut, person_out
from tenants.api.tenants import tenant_in_path
from tenants.listings import TOKEN_SORTS, tokens
from tenants.models import ApiToken
from tenants.policy import Permission
from tenants.services.roles import role_named
from tenants.services.tokens import Scope, token_create, token_revoke, token_rotate
from tenants.types import HttpRequest

router = Router(tags=["people and tokens"])


class TokenOut(BaseModel):
    """A bearer token for this project; `permissions` null is whatever its owner may.

    A personal token has a `user`, a service token a `role`. After a rotation `old_prefix` works until `old_until`.
    """

    id: str
    name: str
    kind: Literal["personal", "service"]
    prefix: str
    user: PersonOut | None
    role: str | None
    made_with: str | None = Field(description="The id of the token that made it, and with which it ends.")
    permissions: list[str] | None
    tags: list[str]
    networks: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_address: str
    old_prefix: str
    old_until: datetime | None
    revoked_at: datetime | None


class NewTokenOut(TokenOut):
    """A fresh token; `token` is shown this once."""

    token: str


class TokenQuery(Listing):
    """Filters of tokens."""

    sort: str = Field(default="-created_at", max_length=40, description="`created_at`, `name`, or one with `-`")
    revoked: bool | None = Field(default=None, description="Only revoked ones, or only those that are not.")
    prefix: str = Field(default="", max_length=12, description="Its text begins so; finds a leaked one.")


class TokenIn(Body):
    """A token to be made; it can do no more than its owner may at the time.

    With `role` it is a service token: the project's own, whoever comes or goes.
    """

    name: str = Field(max_length=64)
    role: str = Field(default="", max_length=40)
    permissions: list[str] | None = Field(default=None, max_length=100)
    tags: list[str] = Field(default_factory=list, max_length=20, description="Only machines that wear one of them.")
    networks: list[str] = Field(default_factory=list, max_length=20, description="CIDRs it may be used from.")
    expires_at: Moment | None = None


class RotateIn(Body):
    """How long the old text still works."""

    overlap_s: int = Field(default=3600, ge=0, le=7 * 86400)


def _token_facts(token: ApiToken) -> dict[str, Any]:
    return {
        "id": str(token.pk),
        "name": token.name,
        "kind": "personal" if token.user is not None else "service",
        "prefix": token.prefix,
        "user": person_out(token.user) if token.user is not None else None,
        "role": token.role.name if token.role is not None else None,
        "made_with": str(token.made_with_id) if token.made_with_id is not None else None,
        "permissions": token.permissions,
        "tags": token.tags,
        "networks": token.networks,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "last_used_address": token.last_used_address,
        "old_prefix": token.old_prefix,
        "old_until": token.old_until,
        "revoked_at": token.revoked_at,
    }


@router.get("/tokens", response=Listed[TokenOut], summary="List tokens")
def token_list(request: HttpRequest, query: Query[TokenQuery]) -> dict[str, Any]:
    """Tokens that open this project, one's own or, for who manages them, everybody's; never their secrets."""
    request.actor.require(Permission.TOKEN_VIEW)
    rows = tokens(request.actor)
    if query.revoked is not None:
        rows = rows.filter(revoked_at__isnull=not query.revoked)
    if query.q:
        rows = rows.filter(name__icontains=query.q)
    if query.prefix:
        rows = rows.filter(Q(prefix__startswith=query.prefix) | Q(old_prefix__startswith=query.prefix))
    return listed(request, query, rows, sorts=TOKEN_SORTS, out=lambda row: TokenOut(**_token_facts(row)))


@router.post("/tokens", response={201: NewTokenOut}, summary="Create a token")
def token_post(request: HttpRequest, response: HttpResponse, body: TokenIn) -> Status[NewTokenOut]:
    """For yourself, or the project's own; its text is in this answer and nowhere else.

    It ends with the token that makes it: one that is to last is made on the project's page.
    """
    tenant = tenant_in_path(request)
    token, raw = token_create(
        None if body.role else request.actor.user,
        name=body.name,
        actor=request.actor,
        tenant=tenant,
        scope=Scope(body.permissions, body.tags, body.networks, body.expires_at),
        role=role_named(body.role) if body.role else None,
    )
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/tokens/{token.pk}"
    return Status(201, _fresh(response, token, raw))


def _fresh(response: HttpResponse, token: ApiToken, raw: str) -> NewTokenOut:
    response["ETag"] = etag_of(token)
    return NewTokenOut(**_token_facts(token), token=raw)


@router.get("/tokens/{token_id}", response=TokenOut, summary="Get a token")
def token_get(request: HttpRequest, token_id: str, response: HttpResponse) -> TokenOut:
    """What it is and when it was used; never its secret."""
    request.actor.require(Permission.TOKEN_VIEW)
    token = find(request, tokens(request.actor), token_id)
    response["ETag"] = etag_of(token)
    return TokenOut(**_token_facts(token))


@router.delete("/tokens/{token_id}", response={204: None}, summary="Revoke a token")
def token_delete(request: HttpRequest, token_id: str) -> Status[None]:
    """It opens nothing from now on, nor what was made with it; consoles opened by them close. One's own anybody may end."""
    request.actor.require(Permission.TOKEN_VIEW)
    token_revoke(find(request, tokens(request.actor), token_id), actor=request.actor)
    return Status(204, None)


@router.post("/tokens/{token_id}/rotate", response=NewTokenOut, summary="Rotate a token")
def token_rotate_post(
    request: HttpRequest, token_id: str, response: HttpResponse, body: RotateIn | None = None
) -> NewTokenOut:
    """A new text for the same token, shown in this answer only; the old one works for `overlap_s` seconds more."""
    request.actor.require(Permission.TOKEN_OWN)
    overlap = timedelta(seconds=(body or RotateIn()).overlap_s)
    token, raw = token_rotate(find(request, tokens(request.actor), token_id), overlap=overlap, actor=request.actor)
    return _fresh(response, token, raw)
