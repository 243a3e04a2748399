"""REST: storage classes; everybody reads, operators write."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from django.db.models import QuerySet
from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool, StrictInt

from portal.core.bodies import Body, Listed, Listing, listed, narrowed
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts
from portal.core.ports import Item, Tariff, tariff
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.fit import PriceOut, price_out
from vms.models import StorageClass
from vms.services.storage_classes import storage_class_write

router = Router(tags=["storage classes"])
SORTS: Sorts = {"name": ("name",)}
type Medium = Literal["", "hdd", "ssd", "nvme"]
type Scrubbing = Literal["none", "zero"]


class StorageClassOut(BaseModel):
    """A promise about disks: the most that one volume may be given (0 is no bound), and what is done before it is deleted."""

    id: str
    name: str
    media: Medium = Field(description="What they are made of; empty is not said.")
    iops: int = Field(description="Requests a second, reads and writes together.")
    mbps: int = Field(description="MiB a second, reads and writes together.")
    scrub: Scrubbing = Field(description="`zero`: a volume's bytes are overwritten before it goes.")
    is_default: bool = Field(description="Taken where none is named, and for machines' first disks.")
    enabled: bool
    pools: list[str] = Field(description="The kinds of storage pools that serve it.")
    price: PriceOut | None = Field(description="Of one GiB, today.")


class StorageClassQuery(Listing):
    """Filters of storage classes."""

    sort: str = Field(default="name", max_length=40, description="`name` or `-name`")
    name: str = Field(default="", max_length=40)


class StorageClassPatch(Body):
    """What is left out stays; volumes that exist take part in new limits from their machine's next start or change on."""

    media: Medium = ""
    iops: StrictInt = Field(default=0, ge=0, le=1_000_000)
    mbps: StrictInt = Field(default=0, ge=0, le=1_000_000)
    scrub: Scrubbing = "none"
    is_default: StrictBool = False
    enabled: StrictBool = True


class StorageClassIn(StorageClassPatch):
    """A class to be offered; pools are given to it on their own."""

    name: str = Field(max_length=40)


def _rows(request: HttpRequest) -> QuerySet[StorageClass]:
    rows = StorageClass.objects.prefetch_related("pools")
    return rows if request.actor.is_operator else rows.filter(enabled=True)


def class_out(row: StorageClass, today: Tariff | None) -> StorageClassOut:
    """A storage class as JSON shows it."""
    return StorageClassOut.model_validate(
        {
            "id": str(row.pk),
            "name": row.name,
            "media": row.media,
            "iops": row.iops,
            "mbps": row.mbps,
            "scrub": row.scrub,
            "is_default": row.is_default,
            "enabled": row.enabled,
            "pools": sorted({pool.kind for pool in row.pools.all()}),
            "price": price_out(today.price([Item("disk_gib", 1, row.name)]) if today is not None else None),
        }
    )


def _shown(response: HttpResponse, row: StorageClass) -> StorageClassOut:
    response["ETag"] = etag_of(row)
    return class_out(row, tariff())


@router.get("/storage-classes", response=Listed[StorageClassOut], summary="List storage classes")
def storage_class_list(request: HttpRequest, query: Query[StorageClassQuery]) -> dict[str, Any]:
    """What volumes can be made of; operators see those no longer offered, too."""
    rows = narrowed(_rows(request), name=query.name, name__icontains=query.q)
    return listed(request, query, rows, sorts=SORTS, out=partial(class_out, today=tariff()))


@router.get("/storage-classes/{class_id}", response=StorageClassOut, summary="Get a storage class")
def storage_class_get(request: HttpRequest, class_id: str, response: HttpResponse) -> StorageClassOut:
    """One class."""
    return _shown(response, find(request, _rows(request), class_id))


@router.post("/storage-classes", response={201: StorageClassOut}, summary="Create a storage class (operators)")
def storage_class_post(request: HttpRequest, response: HttpResponse, body: StorageClassIn) -> Status[StorageClassOut]:
    """Offer another class."""
    row = storage_class_write(None, actor=request.actor, **body.model_dump(exclude_unset=True))
    response["Location"] = f"/api/v1/storage-classes/{row.pk}"
    return Status(201, _shown(response, row))


@router.patch("/storage-classes/{class_id}", response=StorageClassOut, summary="Change a storage class (operators)")
def storage_class_patch(
    request: HttpRequest, class_id: str, response: HttpResponse, body: StorageClassPatch
) -> StorageClassOut:
    """Other limits, another scrubbing, the default, or offered no longer; its name stays."""
    request.actor.require(Permission.OPERATE)
    row = find(request, _rows(request), class_id)
    return _shown(response, storage_class_write(row, actor=request.actor, **body.model_dump(exclude_unset=True)))
