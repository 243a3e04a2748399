"""REST: flavors; everybody reads, operators write."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool, StrictInt

from portal.core.bodies import Body, Listed, Listing, listed, narrowed
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.models import Flavor
from vms.services.flavors import flavor_write

router = Router(tags=["flavors"])
SORTS: Sorts = {
    "sort": ("sort", "name"),
    "name": ("name",),
    "vcpus": ("vcpus", "name"),
    "memory_mib": ("memory_mib", "name"),
}


class FlavorOut(BaseModel):
    """A size; limits of 0 are none. `cpu_percent` is of one vCPU, for each."""

    id: str
    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    cpu_percent: int
    disk_iops: int
    disk_mbps: int
    net_mbit: int
    labels: list[str] = Field(description="What a host must have for it.")
    enabled: bool
    sort: int


class FlavorQuery(Listing):
    """Filters of flavors."""

    sort: str = Field(
        default="sort",
        max_length=40,
        description="`sort` (small ones first), `name`, `vcpus`, `memory_mib`, or with `-`",
    )
    name: str = Field(default="", max_length=40)


class FlavorPatch(Body):
    """What is left out stays; machines keep the size they were made with."""

    name: str = Field(default="", max_length=40)
    vcpus: StrictInt = Field(default=1, ge=1, le=255)
    memory_mib: StrictInt = Field(default=64, ge=64, le=4 * 1024 * 1024)
    disk_gib: StrictInt = Field(default=1, ge=1, le=64 * 1024)
    cpu_percent: StrictInt = Field(default=0, ge=0, le=100)
    disk_iops: StrictInt = Field(default=0, ge=0, le=1_000_000)
    disk_mbps: StrictInt = Field(default=0, ge=0, le=1_000_000)
    net_mbit: StrictInt = Field(default=0, ge=0, le=1_000_000)
    labels: list[str] = Field(default=[], max_length=20, description="What a host must have for it.")
    enabled: StrictBool = True
    sort: StrictInt = Field(default=100, ge=0, le=32767)


class FlavorIn(FlavorPatch):
    """A size to be offered."""

    name: str = Field(max_length=40)
    vcpus: StrictInt = Field(ge=1, le=255)
    memory_mib: StrictInt = Field(ge=64, le=4 * 1024 * 1024)
    disk_gib: StrictInt = Field(ge=1, le=64 * 1024)


def flavor_out(flavor: Flavor) -> FlavorOut:
    """A flavor as JSON shows it."""
    return FlavorOut(
        id=str(flavor.pk),
        name=flavor.name,
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mib,
        disk_gib=flavor.disk_gib,
        cpu_percent=flavor.cpu_percent,
        disk_iops=flavor.disk_iops,
        disk_mbps=flavor.disk_mbps,
        net_mbit=flavor.net_mbit,
        labels=flavor.labels,
        enabled=flavor.enabled,
        sort=flavor.sort,
    )


def _shown(response: HttpResponse, flavor: Flavor) -> FlavorOut:
    response["ETag"] = etag_of(flavor)
    return flavor_out(flavor)


@router.get("/flavors", response=Listed[FlavorOut], summary="List flavors")
def flavor_list(request: HttpRequest, query: Query[FlavorQuery]) -> dict[str, Any]:
    """Sizes a machine can have; operators see those no longer offered, too."""
    rows = Flavor.objects.all() if request.actor.is_operator else Flavor.objects.filter(enabled=True)
    rows = narrowed(rows, name=query.name, name__icontains=query.q)
    return listed(request, query, rows, sorts=SORTS, out=flavor_out)


@router.get("/flavors/{flavor_id}", response=FlavorOut, summary="Get a flavor")
def flavor_get(request: HttpRequest, flavor_id: str, response: HttpResponse) -> FlavorOut:
    """One size."""
    return _shown(response, find(request, Flavor.objects.all(), flavor_id))


@router.post("/flavors", response={201: FlavorOut}, summary="Create a flavor (operators)")
def flavor_post(request: HttpRequest, response: HttpResponse, body: FlavorIn) -> Status[FlavorOut]:
    """Offer another size."""
    flavor = flavor_write(None, actor=request.actor, **body.model_dump(exclude_unset=True))
    response["Location"] = f"/api/v1/flavors/{flavor.pk}"
    return Status(201, _shown(response, flavor))


@router.patch("/flavors/{flavor_id}", response=FlavorOut, summary="Change a flavor (operators)")
def flavor_patch(request: HttpRequest, flavor_id: str, response: HttpResponse, body: FlavorPatch) -> FlavorOut:
    """Change a size for machines to come, or offer it no longer (`enabled`)."""
    request.actor.require(Permission.OPERATE)
    flavor = find(request, Flavor.objects.all(), flavor_id)
    return _shown(response, flavor_write(flavor, actor=request.actor, **body.model_dump(exclude_unset=True)))
