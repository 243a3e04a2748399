"""REST: volumes of a tenant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from ninja import Query, Router
from pydantic import BaseModel, Field

from portal.core.bodies import Listed, Listing, listed, narrowed, narrowed_to
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.models import Volume
from vms.selectors.guests import guests_visible
from vms.states import VolumeState

router = Router(tags=["volumes"])
SORTS: Sorts = {"created_at": ("created_at", "id"), "name": ("name", "id"), "size_gib": ("size_gib", "id")}


class VolumeOut(BaseModel):
    """A disk."""

    id: str
    name: str
    guest: str | None
    guest_name: str | None
    position: int
    size_gib: int
    state: VolumeState
    storage_class: str
    image: str | None
    created_at: datetime


class VolumeQuery(Listing):
    """Filters of volumes."""

    sort: str = Field(default="-created_at", max_length=40, description="`created_at`, `name`, `size_gib`, or with `-`")
    q: str = Field(default="", max_length=100, description="Part of its name or its guest's.")
    guest: str = Field(default="", max_length=40)
    state: VolumeState | None = None


def _volumes(request: HttpRequest) -> QuerySet[Volume]:
    """The volumes that the caller's role reaches."""
    rows = Volume.objects.select_related("guest", "storage_class")
    if request.actor.narrowed:
        rows = rows.filter(guest__in=guests_visible(request.actor).values("pk"))
    return rows.defer(*(f"guest__{name}" for name in ("user_data", "password_hash", "display_password")))


def volume_out(volume: Volume) -> VolumeOut:
    """A volume as JSON shows it."""
    return VolumeOut(
        id=str(volume.pk),
        name=volume.name,
        guest=str(volume.guest_id) if volume.guest_id else None,
        guest_name=volume.guest.name if volume.guest is not None else None,
        position=volume.position,
        size_gib=volume.size_gib,
        state=VolumeState(volume.state),
        storage_class=volume.storage_class.name,
        image=str(volume.image_id) if volume.image_id else None,
        created_at=volume.created_at,
    )


@router.get("/volumes", response=Listed[VolumeOut], summary="List volumes")
def volume_list(request: HttpRequest, query: Query[VolumeQuery]) -> dict[str, Any]:
    """Disks of this project."""
    request.actor.require(Permission.VOLUME_VIEW)
    rows = narrowed(narrowed_to(_volumes(request), guest=query.guest), state=query.state)
    if query.q:
        rows = rows.filter(name__icontains=query.q) | rows.filter(guest__name__icontains=query.q)
    return listed(request, query, rows, sorts=SORTS, out=volume_out)


@router.get("/volumes/{volume_id}", response=VolumeOut, summary="Get a volume")
def volume_get(request: HttpRequest, volume_id: str, response: HttpResponse) -> VolumeOut:
    """One disk."""
    request.actor.require(Permission.VOLUME_VIEW)
    volume = find(request, _volumes(request), volume_id)
    response["ETag"] = etag_of(volume)
    return volume_out(volume)
