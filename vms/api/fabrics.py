"""REST for operators: fabrics, which carry networks over many hosts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool, StrictInt

from operations.api import OperationOut, accepted
from portal.core.bodies import Body, Listed, Listing, Nothing, listed, narrowed
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.models import Fabric
from vms.models.fabrics import TUNNEL_MTU
from vms.services.fabrics import fabric_test, fabric_write

router = Router(tags=["operators: hosts"])
NAMED: Sorts = {"name": ("name",)}


class FabricOut(BaseModel):
    """An OVN installation; `facts`, `notes` and `joined` are what its last test found."""

    id: str
    name: str
    northbound: str
    southbound: str
    pki: str
    mtu: int
    resolvers: list[str]
    physnet: str
    outer_address: str
    outer_gateway: str
    carriers: list[str]
    enabled: bool
    offload: bool = Field(description="Do its hosts' kernels switch? Otherwise machines compute checksums themselves.")
    joined: list[str] = Field(description="Ids of the hosts that are in it; no others take machines with cards.")
    facts: dict[str, Any]
    notes: list[str]
    problem: str | None
    seen_at: datetime | None
    created_at: datetime


class FabricPatch(Body):
    """What is left out stays. Each change is tested by a worker."""

    name: str = Field(default="", max_length=40)
    northbound: str = Field(
        default="", max_length=255, description="Such as `ssl:192.0.2.1:6641`, several with commas."
    )
    southbound: str = Field(default="", max_length=255, description="Only tests read it, to see which hosts are there.")
    pki: str = Field(
        default="",
        max_length=200,
        description="Folder beside the portal: `clientkey.pem`, `clientcert.pem`, `cacert.pem`.",
    )
    mtu: StrictInt = Field(default=TUNNEL_MTU, ge=1280, le=8942)
    resolvers: list[str] = Field(default=[], max_length=8, description="Name servers where a network names none.")
    physnet: str = Field(default="", max_length=40, description="As in `ovn-bridge-mappings`; empty: no way out.")
    outer_address: str = Field(
        default="", max_length=18, description="The way out's own, with the length of its range."
    )
    outer_gateway: str = Field(default="", max_length=15)
    carriers: list[str] = Field(default=[], max_length=8, description="Names in OVN; the first that lives carries it.")
    enabled: StrictBool = Field(default=True, description="Out of service its hosts take no new machines with cards.")


class FabricIn(FabricPatch):
    """A fabric."""

    name: str = Field(max_length=40)
    northbound: str = Field(max_length=255)
    southbound: str = Field(max_length=255)


def fabric_out(fabric: Fabric) -> FabricOut:
    """A fabric as JSON shows it."""
    return FabricOut(
        id=str(fabric.pk),
        name=fabric.name,
        northbound=fabric.northbound,
        southbound=fabric.southbound,
        pki=fabric.pki,
        mtu=fabric.mtu,
        resolvers=fabric.resolvers,
        physnet=fabric.physnet,
        outer_address=fabric.outer_address,
        outer_gateway=fabric.outer_gateway,
        carriers=fabric.carriers,
        enabled=fabric.enabled,
        offload=fabric.offload,
        joined=fabric.joined,
        facts=fabric.facts,
        notes=fabric.notes,
        problem=fabric.problem or None,
        seen_at=fabric.seen_at,
        created_at=fabric.created_at,
    )


@router.get("/fabrics", response=Listed[FabricOut], summary="List fabrics")
def fabric_list(request: HttpRequest, query: Query[Listing]) -> dict[str, Any]:
    """Fabrics and how they are."""
    request.actor.require(Permission.OPERATE)
    rows = narrowed(Fabric.objects.all(), name__icontains=query.q)
    return listed(request, query, rows, sorts=NAMED, out=fabric_out)


@router.get("/fabrics/{fabric_id}", response=FabricOut, summary="Get a fabric")
def fabric_get(request: HttpRequest, fabric_id: str, response: HttpResponse) -> FabricOut:
    """One fabric, with what its last test found."""
    request.actor.require(Permission.OPERATE)
    fabric = find(request, Fabric.objects.all(), fabric_id)
    response["ETag"] = etag_of(fabric)
    return fabric_out(fabric)


@router.post("/fabrics", response={202: OperationOut}, exclude_unset=True, summary="Add a fabric")
def fabric_post(request: HttpRequest, response: HttpResponse, body: FabricIn) -> Status[OperationOut]:
    """Write it down and test it; the operation's subject is the fabric. Pools of hosts can be put on it from then on."""
    request.actor.require(Permission.OPERATE)
    _fabric, operation = fabric_write(None, actor=request.actor, **body.model_dump(exclude_unset=True))
    return accepted(request, response, operation)


@router.patch("/fabrics/{fabric_id}", response=FabricOut, summary="Change a fabric")
def fabric_patch(request: HttpRequest, fabric_id: str, response: HttpResponse, body: FabricPatch) -> FabricOut:
    """While networks stand on it, only its name, its addresses, its key and whether it is in service."""
    request.actor.require(Permission.OPERATE)
    fabric = find(request, Fabric.objects.all(), fabric_id)
    fabric, _operation = fabric_write(fabric, actor=request.actor, **body.model_dump(exclude_unset=True))
    response["ETag"] = etag_of(fabric)
    return fabric_out(fabric)


@router.post("/fabrics/{fabric_id}/test", response={202: OperationOut}, exclude_unset=True, summary="Test a fabric")
def fabric_test_post(
    request: HttpRequest, fabric_id: str, response: HttpResponse, body: Nothing | None = None
) -> Status[OperationOut]:
    """Connect, see whether it can be told of networks and carries them out, and which hosts are in it."""
    request.actor.require(Permission.OPERATE)
    fabric = find(request, Fabric.objects.all(), fabric_id)
    return accepted(request, response, fabric_test(fabric, actor=request.actor))
