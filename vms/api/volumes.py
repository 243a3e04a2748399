"""REST: volumes of a tenant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool, StrictInt

from operations.api import OperationOut, accepted
from operations.models import Operation
from operations.selectors import operations_live_on
from portal.core.bodies import Body, Listed, Listing, Nothing, narrowed, narrowed_to, refuse_unknown
from portal.core.errors import FieldError
from portal.core.etags import etag_of
from portal.core.paging import keyset_page
from tenants.api.tenants import tenant_in_path
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.fit import FitOut, fit_out
from vms.api.pick import find_held, pick, pick_image, refuse
from vms.models import Guest, Image, StorageClass, Volume
from vms.selectors.guests import guests_visible
from vms.selectors.volumes import VOLUME_SORTS, volumes_visible
from vms.services.volumes import (
    volume_attach,
    volume_create,
    volume_delete,
    volume_detach,
    volume_edit,
    volume_extend,
    volume_limit,
)
from vms.services.volumes.change import BOOT_MAX
from vms.services.volumes.check import LIMIT_MAX
from vms.services.volumes.foresee import extend_fit, volume_fit
from vms.specs import DISK_MAX_GIB, VolumeSpec
from vms.states import VolumeState

router = Router(tags=["volumes"])


class VolumeOut(BaseModel):
    """A disk. Its serial, the first 20 digits of `id` without hyphens, is how its machine's system finds it."""

    id: str
    name: str
    guest: str | None
    guest_name: str | None
    position: int | None = Field(description="0 is the machine's first disk; null on no machine.")
    device: str | None = Field(description="Its name on the machine's bus, such as `vdb`; null on no machine.")
    serial: str
    size_gib: int
    state: VolumeState
    storage_class: str
    image: str | None
    delete_with_guest: bool = Field(description="Is it deleted when its machine is gone for good, or let go and kept?")
    boot_order: int = Field(description="From which disk the machine boots first, from 1; 0 takes no part.")
    iops: int = Field(description="Its own limit, operations a second; 0 is none.")
    mbps: int = Field(description="Its own limit, MiB a second; 0 is none.")
    operation: str | None = Field(description="The operation that is being carried out on it.")
    created_at: datetime


class VolumeIn(Body):
    """A volume to be made; things are named by id or name."""

    name: str = Field(max_length=63)
    size_gib: StrictInt = Field(ge=1, le=DISK_MAX_GIB)
    storage_class: str = Field(default="", max_length=40, description="The default class where empty.")
    image: str = Field(default="", max_length=100, description="What it is made of; empty: nothing on it.")
    guest: str = Field(
        default="",
        max_length=63,
        description="The machine it is for: made on its host and plugged in. Without one it lies on the host with most room, "
        "and only machines there can have it.",
    )
    delete_with_guest: StrictBool = False
    iops: StrictInt = Field(default=0, ge=0, le=LIMIT_MAX)
    mbps: StrictInt = Field(default=0, ge=0, le=LIMIT_MAX)


class VolumePatch(Body):
    """What can be changed at once; what is left out stays."""

    name: str = Field(default="", max_length=63)
    delete_with_guest: StrictBool = False
    boot_order: StrictInt = Field(default=0, ge=0, le=BOOT_MAX, description="Holds from the machine's next start.")


class AttachIn(Body):
    """Where to plug it in."""

    guest: str = Field(max_length=63, description="Id or name of a machine on the host where the volume lies.")
    delete_with_guest: StrictBool = False


class ExtendIn(Body):
    """How large it is to be; it never shrinks."""

    size_gib: StrictInt = Field(ge=1, le=DISK_MAX_GIB)


class VolumeLimitsIn(Body):
    """Its own limits a second, reads and writes together; 0 is none."""

    iops: StrictInt = Field(default=0, ge=0, le=LIMIT_MAX)
    mbps: StrictInt = Field(default=0, ge=0, le=LIMIT_MAX)


class VolumeQuery(Listing):
    """Filters of volumes."""

    sort: str = Field(default="-created_at", max_length=40, description="`created_at`, `name`, `size_gib`, or with `-`")
    q: str = Field(default="", max_length=100, description="Part of its name or its guest's.")
    guest: str = Field(default="", max_length=40)
    state: VolumeState | None = None
    attached: bool | None = None


def volume_out(volume: Volume, operation: Operation | None = None) -> VolumeOut:
    """A volume as JSON shows it."""
    attached = volume.guest_id is not None
    return VolumeOut(
        id=str(volume.pk),
        name=volume.name,
        guest=str(volume.guest_id) if volume.guest_id else None,
        guest_name=volume.guest.name if volume.guest is not None else None,
        position=volume.position if attached else None,
        device=volume.device if attached else None,
        serial=volume.serial,
        size_gib=volume.size_gib,
        state=VolumeState(volume.state),
        storage_class=volume.storage_class.name,
        image=str(volume.image_id) if volume.image_id else None,
        delete_with_guest=volume.goes_with_guest,
        boot_order=volume.boot_order,
        iops=volume.iops,
        mbps=volume.mbps,
        operation=str(operation.pk) if operation is not None else None,
        created_at=volume.created_at,
    )


def _shown(request: HttpRequest, response: HttpResponse, volume: Volume) -> VolumeOut:
    response["ETag"] = etag_of(volume)
    return volume_out(volume, operations_live_on("volume", [volume.pk]).get(volume.pk))


def _volume(request: HttpRequest, volume_id: str) -> Volume:
    return find_held(request, volumes_visible(request.actor), volume_id)


@router.get("/volumes", response=Listed[VolumeOut], summary="List volumes")
def volume_list(request: HttpRequest, query: Query[VolumeQuery]) -> dict[str, Any]:
    """Disks of this project."""
    request.actor.require(Permission.VOLUME_VIEW)
    refuse_unknown(request, query)
    rows = narrowed(narrowed_to(volumes_visible(request.actor), guest=query.guest), state=query.state)
    if query.attached is not None:
        rows = rows.filter(guest__isnull=not query.attached)
    if query.q:
        rows = rows.filter(Q(name__icontains=query.q) | Q(guest__name__icontains=query.q))
    page = keyset_page(rows, sorts=VOLUME_SORTS, sort=query.sort, limit=query.limit, cursor=query.cursor)
    live = operations_live_on("volume", [volume.pk for volume in page.items])
    return {"items": [volume_out(volume, live.get(volume.pk)) for volume in page.items], "next": page.next}


@router.post("/volumes", response={202: OperationOut, 200: FitOut}, exclude_unset=True, summary="Create a volume")
def volume_post(
    request: HttpRequest, response: HttpResponse, body: VolumeIn, dry_run: bool = False
) -> Status[OperationOut] | Status[FitOut]:
    """Empty, or made of an image; with `guest` plugged in at once. The operation's subject is the volume.

    With `dry_run` nothing is made: the answer says whether it would fit.
    """
    tenant = tenant_in_path(request)
    request.actor.require(Permission.VOLUME_MANAGE)
    if dry_run:
        return Status(200, fit_out(volume_fit(tenant, _spec(request, body), actor=request.actor)))
    return accepted(request, response, volume_create(tenant, _spec(request, body), actor=request.actor))


def _spec(request: HttpRequest, body: VolumeIn) -> VolumeSpec:
    """The body with its words turned into rows; raises ``Invalid`` with every word that names nothing."""
    errors: list[FieldError] = []
    classes = StorageClass.objects.all()
    spec = VolumeSpec(
        name=body.name,
        size_gib=body.size_gib,
        storage_class=pick(classes, body.storage_class, "/storage_class", errors) if body.storage_class else None,
        image=pick_image(Image.objects.all(), body.image, "/image", errors) if body.image else None,
        guest=pick(_guests(request), body.guest, "/guest", errors) if body.guest else None,
        delete_with_guest=body.delete_with_guest,
        iops=body.iops,
        mbps=body.mbps,
    )
    refuse(errors)
    return spec


def _guests(request: HttpRequest) -> QuerySet[Guest]:
    return guests_visible(request.actor).filter(binned_at=None)


@router.get("/volumes/{volume_id}", response=VolumeOut, summary="Get a volume")
def volume_get(request: HttpRequest, volume_id: str, response: HttpResponse) -> VolumeOut:
    """One disk."""
    request.actor.require(Permission.VOLUME_VIEW)
    return _shown(request, response, _volume(request, volume_id))


@router.patch("/volumes/{volume_id}", response=VolumeOut, summary="Change a volume")
def volume_patch(request: HttpRequest, volume_id: str, response: HttpResponse, body: VolumePatch) -> VolumeOut:
    """Rename it, say what becomes of it with its machine, or when it is booted from."""
    changes = body.model_dump(exclude_unset=True)
    return _shown(request, response, volume_edit(_volume(request, volume_id), actor=request.actor, **changes))


@router.delete("/volumes/{volume_id}", response={202: OperationOut}, exclude_unset=True, summary="Delete a volume")
def volume_remove(request: HttpRequest, volume_id: str, response: HttpResponse) -> Status[OperationOut]:
    """For good, its bytes as its class says; refused while it hangs on a machine."""
    return accepted(request, response, volume_delete(_volume(request, volume_id), actor=request.actor))


@router.post("/volumes/{volume_id}/attach", response={202: OperationOut}, exclude_unset=True, summary="Attach a volume")
def volume_attach_post(
    request: HttpRequest, volume_id: str, response: HttpResponse, body: AttachIn
) -> Status[OperationOut]:
    """Plug it into a machine that runs or is off. A volume can only be plugged in on the host where it lies."""
    request.actor.require(Permission.VOLUME_MANAGE)
    errors: list[FieldError] = []
    guest = pick(_guests(request), body.guest, "/guest", errors)
    volume = _volume(request, volume_id)
    refuse(errors)
    assert guest is not None
    operation = volume_attach(volume, guest, actor=request.actor, delete_with_guest=body.delete_with_guest)
    return accepted(request, response, operation)


@router.post("/volumes/{volume_id}/detach", response={202: OperationOut}, exclude_unset=True, summary="Detach a volume")
def volume_detach_post(
    request: HttpRequest, volume_id: str, response: HttpResponse, body: Nothing | None = None
) -> Status[OperationOut]:
    """Take it off its machine; one that runs must let go of it, so unmount it there first."""
    return accepted(request, response, volume_detach(_volume(request, volume_id), actor=request.actor))


@router.post(
    "/volumes/{volume_id}/extend",
    response={202: OperationOut, 200: FitOut},
    exclude_unset=True,
    summary="Extend a volume",
)
def volume_extend_post(
    request: HttpRequest, volume_id: str, response: HttpResponse, body: ExtendIn, dry_run: bool = False
) -> Status[OperationOut] | Status[FitOut]:
    """Make it larger, also while its machine runs. A volume never shrinks.

    With `dry_run` nothing is changed: the answer says whether it would fit; `more_fit` are GiB.
    """
    volume = _volume(request, volume_id)
    if dry_run:
        return Status(200, fit_out(extend_fit(volume, size_gib=body.size_gib, actor=request.actor)))
    return accepted(request, response, volume_extend(volume, actor=request.actor, size_gib=body.size_gib))


@router.post("/volumes/{volume_id}/limits", response={202: OperationOut}, exclude_unset=True, summary="Limit a volume")
def volume_limits_post(
    request: HttpRequest, volume_id: str, response: HttpResponse, body: VolumeLimitsIn
) -> Status[OperationOut]:
    """Give it limits below those of its class and its machine's size; they hold at once, also while it runs."""
    volume = _volume(request, volume_id)
    return accepted(request, response, volume_limit(volume, actor=request.actor, iops=body.iops, mbps=body.mbps))
