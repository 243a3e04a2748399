"""REST: what changes a machine that is there: its size."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Router, Status

from operations.api import OperationOut, accepted
from portal.core.etags import find
from tenants.types import HttpRequest
from vms.api.guest_shapes import FitOut, ResizeIn, fit_out, flavor_named
from vms.models import Guest
from vms.selectors.guests import guests_visible
from vms.services.guests import guest_resize
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
