"""REST: SSH keys of a tenant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from portal.core.bodies import Body, Listed, Listing, listed, narrowed
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts
from tenants.api.tenants import tenant_in_path
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.models import SshKey
from vms.services.keys import key_create, key_delete

router = Router(tags=["ssh-keys"])
SORTS: Sorts = {"name": ("name", "id"), "created_at": ("created_at", "id")}


class KeyOut(BaseModel):
    """A public key that machines can be made with."""

    id: str
    name: str
    public_key: str
    fingerprint: str
    created_at: datetime


class KeyQuery(Listing):
    """Filters of keys."""

    sort: str = Field(default="name", max_length=40, description="`name`, `created_at`, or one with `-`")
    name: str = Field(default="", max_length=64)
    fingerprint: str = Field(default="", max_length=64)


class KeyIn(Body):
    """A key to be kept; options and comment are dropped."""

    name: str = Field(max_length=64)
    public_key: str = Field(max_length=8192)


def key_out(key: SshKey) -> KeyOut:
    """A key as JSON shows it."""
    return KeyOut(
        id=str(key.pk), name=key.name, public_key=key.public_key, fingerprint=key.fingerprint, created_at=key.created_at
    )


def _shown(response: HttpResponse, key: SshKey) -> KeyOut:
    response["ETag"] = etag_of(key)
    return key_out(key)


@router.get("/ssh-keys", response=Listed[KeyOut], summary="List SSH keys")
def key_list(request: HttpRequest, query: Query[KeyQuery]) -> dict[str, Any]:
    """Public keys of this project."""
    request.actor.require(Permission.KEY_VIEW)
    rows = narrowed(SshKey.objects.all(), name=query.name, fingerprint=query.fingerprint, name__icontains=query.q)
    return listed(request, query, rows, sorts=SORTS, out=key_out)


@router.post("/ssh-keys", response={201: KeyOut}, summary="Add an SSH key")
def key_post(request: HttpRequest, response: HttpResponse, body: KeyIn) -> Status[KeyOut]:
    """Keep a public key in OpenSSH's form."""
    tenant = tenant_in_path(request)
    key = key_create(tenant, name=body.name, public_key=body.public_key, actor=request.actor)
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/ssh-keys/{key.pk}"
    return Status(201, _shown(response, key))


@router.get("/ssh-keys/{key_id}", response=KeyOut, summary="Get an SSH key")
def key_get(request: HttpRequest, key_id: str, response: HttpResponse) -> KeyOut:
    """One key."""
    request.actor.require(Permission.KEY_VIEW)
    return _shown(response, find(request, SshKey.objects.all(), key_id))


@router.delete("/ssh-keys/{key_id}", response={204: None}, summary="Forget an SSH key")
def key_remove(request: HttpRequest, key_id: str) -> Status[None]:
    """Machines made with it keep it."""
    key_delete(find(request, SshKey.objects.all(), key_id), actor=request.actor)
    return Status(204, None)
