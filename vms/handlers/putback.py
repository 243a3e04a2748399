"""A machine goes back to a backup: its disks are made beside the present ones, then take their places, then it is as it was."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Conflict
from vms.handlers.guests import ensure_pool, reached
from vms.handlers.place import at
from vms.handlers.rebuild import drop_alone, ensure_off, stand
from vms.handlers.restored import fill_from_backup
from vms.models import Volume
from vms.reconcile.converge import Place, observe
from vms.services.putback.swap import former_ids, fresh_ids, put_back_swap
from vms.states import VolumeState


@handles("guest.putback")
def put_back(run: Run) -> None:
    """Every disk whole beside the present ones, the machine off, the swap, and on again if it was on."""
    with at(run) as place:
        if not run.operation.goes_through:
            ensure_pool(run, place)
            make(run, place)
            ensure_off(run, place)
            run.say(_("Putting the disks in their places"), 90)
            with run.effect("swap"), transaction.atomic():
                run.go_through()
                put_back_swap(run.operation)
        place.guest.refresh_from_db()
        forget_firmware(run, place)
        reached(stand(run, place), place.guest)
        if not run.params["keep"]:
            drop_alone(run, place, former_ids(run.operation))


def make(run: Run, place: Place) -> None:
    """Each new disk is filled and whole, and hangs on nothing."""
    rows = Volume.objects.filter(pk__in=fresh_ids(run.operation), state=VolumeState.PLANNED)
    for volume in rows.select_related("pool__host", "source__backup__repository__store").order_by("pk"):
        if volume.source is None:
            raise Conflict(_("The backup is gone."), code="gone", hint="")
        fill_from_backup(run, place, volume, volume.source, effect=f"disk{volume.source.position}")


def forget_firmware(run: Run, place: Place) -> None:
    """Of one with other firmware now nothing stays of what its UEFI and its TPM remember, nor of its definition.

    Only as long as it is not defined anew: what it has learned since is its own.
    """
    if run.params["other_firmware"] and 0 < observe(place).generation < place.guest.want_generation:
        with run.effect("firmware"):
            place.hv.undefine(str(place.guest.pk), owner=place.owner)
