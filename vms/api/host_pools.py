"""REST for operators: pools of hosts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool, StrictInt

from portal.core.bodies import Body, Listed, Listing, listed, narrowed
from portal.core.errors import FieldError
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.pick import pick, refuse
from vms.models import Fabric, HostPool
from vms.services.host_pools import host_pool_write

router = Router(tags=["operators: hosts"])
NAMED: Sorts = {"name": ("name",)}


class HostPoolOut(BaseModel):
    """Hosts that are alike; overcommits are decimal strings."""

    id: str
    name: str
    engine: str = Field(description="`libvirt`: each host's own bridges; `ovn`: its fabric.")
    fabric: str | None = Field(description="Id of what carries its machines' networks over all of its hosts.")
    cpu_overcommit: str
    memory_overcommit: str
    packs: bool = Field(description="New machines go to the fullest host with room, else to the emptiest.")
    spare_hosts: int = Field(description="So many of its largest hosts may fail: their worth is not sold.")
    suspect_after_s: int
    down_after_s: int


class HostPoolPatch(Body):
    """What is left out stays; what is on its hosts stays there."""

    name: str = Field(default="", max_length=40)
    cpu_overcommit: Decimal = Field(default=Decimal(8), ge=1, le=999, max_digits=5, decimal_places=2)
    memory_overcommit: Decimal = Field(default=Decimal(1), ge=1, le=999, max_digits=5, decimal_places=2)
    packs: StrictBool = False
    spare_hosts: StrictInt = Field(default=0, ge=0, le=1000)
    suspect_after_s: StrictInt = Field(default=10, ge=2, le=32767)
    down_after_s: StrictInt = Field(default=20, ge=3, le=32767)
    fabric: str = Field(default="", max_length=40, description="Id or name; empty: each host's own bridges.")


class HostPoolIn(HostPoolPatch):
    """A pool of hosts."""

    name: str = Field(max_length=40)


def pool_out(pool: HostPool) -> HostPoolOut:
    """A pool of hosts as JSON shows it."""
    return HostPoolOut(
        id=str(pool.pk),
        name=pool.name,
        engine=pool.engine,
        fabric=None if pool.fabric_id is None else str(pool.fabric_id),
        cpu_overcommit=str(pool.cpu_overcommit),
        memory_overcommit=str(pool.memory_overcommit),
        packs=pool.packs,
        spare_hosts=pool.spare_hosts,
        suspect_after_s=pool.suspect_after_s,
        down_after_s=pool.down_after_s,
    )


@router.get("/host-pools", response=Listed[HostPoolOut], summary="List pools of hosts")
def host_pool_list(request: HttpRequest, query: Query[Listing]) -> dict[str, Any]:
    """Pools of hosts."""
    request.actor.require(Permission.OPERATE)
    rows = narrowed(HostPool.objects.all(), name__icontains=query.q)
    return listed(request, query, rows, sorts=NAMED, out=pool_out)


@router.get("/host-pools/{pool_id}", response=HostPoolOut, summary="Get a pool of hosts")
def host_pool_get(request: HttpRequest, pool_id: str, response: HttpResponse) -> HostPoolOut:
    """One pool of hosts."""
    request.actor.require(Permission.OPERATE)
    pool = find(request, HostPool.objects.all(), pool_id)
    response["ETag"] = etag_of(pool)
    return pool_out(pool)


@router.post("/host-pools", response={201: HostPoolOut}, exclude_unset=True, summary="Add a pool of hosts")
def host_pool_post(request: HttpRequest, response: HttpResponse, body: HostPoolIn) -> Status[HostPoolOut]:
    """Hosts can be enrolled in it from then on."""
    request.actor.require(Permission.OPERATE)
    pool = host_pool_write(None, actor=request.actor, **_fields(body))
    response["Location"] = f"/api/v1/host-pools/{pool.pk}"
    return Status(201, pool_out(pool))


@router.patch("/host-pools/{pool_id}", response=HostPoolOut, summary="Change a pool of hosts")
def host_pool_patch(request: HttpRequest, pool_id: str, response: HttpResponse, body: HostPoolPatch) -> HostPoolOut:
    """Holds for what is placed from now on."""
    request.actor.require(Permission.OPERATE)
    pool = find(request, HostPool.objects.all(), pool_id)
    pool = host_pool_write(pool, actor=request.actor, **_fields(body))
    response["ETag"] = etag_of(pool)
    return pool_out(pool)


def _fields(body: HostPoolPatch) -> dict[str, Any]:
    """What was said, with the fabric itself instead of its name."""
    fields = body.model_dump(exclude_unset=True)
    if "fabric" in fields:
        errors: list[FieldError] = []
        fields["fabric"] = pick(Fabric.objects.all(), body.fabric, "/fabric", errors) if body.fabric else None
        refuse(errors)
    return fields
