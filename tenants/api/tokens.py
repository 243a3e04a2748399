"""REST: tokens of a tenant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import AwareDatetime, BaseModel, Field

from portal.core.bodies import Body, Listed, Listing, listed
from portal.core.etags import etag_of, find
from tenants.api.people import PersonOut, person_out
from tenants.api.tenants import tenant_in_path
from tenants.listings import TOKEN_SORTS, tokens
from tenants.models import ApiToken
from tenants.policy import Permission
from tenants.services.tokens import token_create, token_revoke
from tenants.types import HttpRequest

router = Router(tags=["people and tokens"])


class TokenOut(BaseModel):
    """A bearer token for this project; `permissions` null is whatever its owner may."""

    id: str
    name: str
    prefix: str
    user: PersonOut | None
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


def _token_facts(token: ApiToken) -> dict[str, Any]:
    return {
        "id": str(token.pk),
        "name": token.name,
        "prefix": token.prefix,
        "user": person_out(token.user) if token.user is not None else None,
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
    rows = tokens(tenant_in_path(request))
    if query.revoked is not None:
        rows = rows.filter(revoked_at__isnull=not query.revoked)
    if query.q:
        rows = rows.filter(name__icontains=query.q)
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
