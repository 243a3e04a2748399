"""REST: what changes a machine that is there: its size, its first disk, what it starts from."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Router, Status

from operations.api import OperationOut, accepted
from portal.core.bodies import Nothing
from portal.core.etags import find
from tenants.types import HttpRequest
from vms.api.fit import FitOut, fit_out
from vms.api.guest_shapes import RebuildIn, RescueIn, ResizeIn, flavor_named, image_named
from vms.models import Guest
from vms.selectors.guests import guests_visible
from vms.services.guests import guest_rebuild, guest_rescue, guest_resize, guest_unrescue
from vms.services.guests.resize import resize_fit

router = Router(tags=["guests"])


def _guest(request: HttpRequest, guest_id: str) -> Guest:
    return find(request, guests_visible(request.actor), guest_id)


@router.post(
    "/guests/{guest_id}/resize", response={202: OperationOut, 200: FitOut}, exclude_unset=True, summary="Resize a guest"
)
def guest_resize_post(
    request: HttpRequest, guest_id: str, response: HttpResponse, body: ResizeIn, dry_run: bool = False
) -> Status[OperationOut] | Status[FitOut]:
    """Give it another flavor's vCPUs and memory; its disk grows where that is larger, and never shrinks.

    A machine that is off takes it at once. `409 needs_restart`: choose `restart` or `power_off`.
    """
    guest, flavor = _guest(request, guest_id), flavor_named(body.flavor)
    if dry_run:
        return Status(200, fit_out(resize_fit(guest, flavor, actor=request.actor, when=body.when)))
    return accepted(request, response, guest_resize(guest, flavor, actor=request.actor, when=body.when))


@router.post("/guests/{guest_id}/rebuild", response={202: OperationOut}, exclude_unset=True, summary="Rebuild a guest")
def guest_rebuild_post(
    request: HttpRequest, guest_id: str, response: HttpResponse, body: RebuildIn | None = None
) -> Status[OperationOut]:
    """Replace its first disk by a fresh one of an image; name, size, addresses, cards and keys stay.

    What is on the old disk is lost, once the new one is whole. An operation that fails says which of them the machine has.
    """
    guest, named = _guest(request, guest_id), (body or RebuildIn()).image
    image = image_named(named) if named else guest.image
    return accepted(request, response, guest_rebuild(guest, image, actor=request.actor))


@router.post("/guests/{guest_id}/rescue", response={202: OperationOut}, exclude_unset=True, summary="Rescue a guest")
def guest_rescue_post(
    request: HttpRequest, guest_id: str, response: HttpResponse, body: RescueIn
) -> Status[OperationOut]:
    """Start it from an image, with its own disk as the second one, untouched. It is switched off first, without asking it."""
    guest = _guest(request, guest_id)
    return accepted(request, response, guest_rescue(guest, image_named(body.image), actor=request.actor))


@router.post("/guests/{guest_id}/unrescue", response={202: OperationOut}, exclude_unset=True, summary="End a rescue")
def guest_unrescue_post(
    request: HttpRequest, guest_id: str, response: HttpResponse, body: Nothing | None = None
) -> Status[OperationOut]:
    """Start it from its own disk again; the rescue disk is deleted."""
    return accepted(request, response, guest_unrescue(_guest(request, guest_id), actor=request.actor))
