"""REST: CDs in machines' drives."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from operations.api import OperationOut, accepted
from portal.core.bodies import Body, Listed, Listing, listed
from portal.core.errors import Missing
from portal.core.etags import etag_of, find
from portal.core.ids import uuid_or_none
from portal.core.paging import Sorts
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.guest_shapes import image_named
from vms.api.pick import find_held
from vms.models import Disc, Guest
from vms.models.discs import DiscBoot
from vms.selectors.guests import guests_visible
from vms.services.discs import disc_edit, disc_eject, disc_insert

router = Router(tags=["guests"])
SORTS: Sorts = {"drive": ("drive", "id")}
ONE = "/guests/{guest_id}/discs/{disc_id}"
BOOT = (
    "When the machine is started from it: `after`, where no disk can be started from; `once`, first at the next start only; "
    "`first`, at every start. A restart from inside is no start."
)


class DiscOut(BaseModel):
    """A CD in a machine's drive."""

    id: str
    drive: int = Field(description="Which of its drives, from 1.")
    image: str
    image_name: str
    boot: DiscBoot = Field(description=BOOT)
    is_out: bool = Field(description="Has its system opened the tray? It is in again at the next start.")
    created_at: datetime


class DiscIn(Body):
    """The CD to insert."""

    image: str = Field(max_length=100, description="Id or name of an image that is a CD.")
    boot: DiscBoot = Field(default=DiscBoot.AFTER, description=BOOT)


class DiscPatch(Body):
    """When the machine is started from it, from its next start on."""

    boot: DiscBoot = Field(description=BOOT)


class DiscQuery(Listing):
    """How the list is cut."""

    sort: str = Field(default="drive", max_length=40, description="`drive` or `-drive`")


def disc_out(disc: Disc) -> DiscOut:
    """A CD as JSON shows it."""
    return DiscOut(
        id=str(disc.pk),
        drive=disc.drive,
        image=str(disc.image_id),
        image_name=disc.image.name,
        boot=DiscBoot(disc.boot),
        is_out=disc.is_out,
        created_at=disc.created_at,
    )


def _guest(request: HttpRequest, guest_id: str) -> Guest:
    return find(request, guests_visible(request.actor), guest_id)


def _disc(request: HttpRequest, guest_id: str, disc_id: str) -> Disc:
    guest = uuid_or_none(guest_id)
    if guest is None:
        raise Missing
    seen = guests_visible(request.actor).filter(pk=guest)  # not by ``find``: ``If-Match`` is about the CD
    return find_held(
        request, Disc.objects.select_related("guest", "image").filter(guest__in=seen.values("pk")), disc_id
    )


def _shown(response: HttpResponse, disc: Disc) -> DiscOut:
    response["ETag"] = etag_of(disc)
    return disc_out(disc)


@router.get("/guests/{guest_id}/discs", response=Listed[DiscOut], summary="List the CDs in a guest's drives")
def disc_list(request: HttpRequest, guest_id: str, query: Query[DiscQuery]) -> dict[str, Any]:
    """What lies in its drives; an empty drive is not listed."""
    request.actor.require(Permission.GUEST_VIEW)
    rows = Disc.objects.select_related("image").filter(guest=_guest(request, guest_id))
    return listed(request, query, rows, sorts=SORTS, out=disc_out)


@router.post("/guests/{guest_id}/discs", response={202: OperationOut}, exclude_unset=True, summary="Insert a CD")
def disc_post(request: HttpRequest, guest_id: str, response: HttpResponse, body: DiscIn) -> Status[OperationOut]:
    """Into the lowest drive that is empty, while the machine runs or is off. The operation's subject is the machine."""
    guest = _guest(request, guest_id)
    return accepted(
        request, response, disc_insert(guest, image_named(body.image), actor=request.actor, boot=body.boot.value)
    )


@router.get(ONE, response=DiscOut, summary="Get a CD")
def disc_get(request: HttpRequest, guest_id: str, disc_id: str, response: HttpResponse) -> DiscOut:
    """One CD."""
    request.actor.require(Permission.GUEST_VIEW)
    return _shown(response, _disc(request, guest_id, disc_id))


@router.patch(ONE, response=DiscOut, summary="Say when a guest is started from a CD")
def disc_patch(request: HttpRequest, guest_id: str, disc_id: str, response: HttpResponse, body: DiscPatch) -> DiscOut:
    """Holds from its next start."""
    disc = _disc(request, guest_id, disc_id)
    return _shown(response, disc_edit(disc, actor=request.actor, boot=body.boot.value))


@router.delete(ONE, response={202: OperationOut}, exclude_unset=True, summary="Eject a CD")
def disc_remove(
    request: HttpRequest, guest_id: str, disc_id: str, response: HttpResponse, force: bool = False
) -> Status[OperationOut]:
    """Fails with `tray_locked` where its system keeps the tray locked; `force` opens it all the same."""
    return accepted(request, response, disc_eject(_disc(request, guest_id, disc_id), actor=request.actor, force=force))
