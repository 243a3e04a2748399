"""The new disks take the places of the present ones: one transaction, before which all is as it was."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from django.db import transaction

from operations.models import Operation
from tenants.journal.events import event_append
from vms.models import Backup, Guest, Volume
from vms.models.volumes import serial_of
from vms.services.guests.hardware import hardware_take
from vms.services.putback.plan import former_name, today_of
from vms.services.volumes.check import guest_locked
from vms.services.volumes.record import volume_tell_guest, volumes_say


def fresh_ids(operation: Operation) -> list[UUID]:
    """The disks that the operation makes."""
    return [UUID(swap["fresh"]) for swap in operation.params["swaps"]]


def former_ids(operation: Operation) -> list[UUID]:
    """Those whose places they take."""
    return [UUID(swap["former"]) for swap in operation.params["swaps"] if swap["former"] is not None]


@transaction.atomic
def put_back_swap(operation: Operation) -> None:
    """Have each new disk at its place of the machine, under the serial of the one that was there; that hangs on none.

    With the first disk the machine is built as it was then, since its system might not find itself in another. For whoever
    has just made sure that the operation is its own and goes through (``Run.go_through``), in that transaction.
    """
    guest = guest_locked(operation.subject_id)
    locked = Volume.objects.select_for_update(of=("self",)).select_related("tenant", "storage_class")
    rows = {row.pk: row for row in locked.filter(pk__in=[*fresh_ids(operation), *former_ids(operation)])}
    today = today_of(guest)
    for swap in operation.params["swaps"]:
        fresh = rows[UUID(swap["fresh"])]
        if swap["former"] is not None:
            _give_way(rows[UUID(swap["former"])], fresh, guest, today)
        fresh.guest, fresh.position = guest, swap["position"]
        fresh.version += 1
        fresh.save()
        if fresh.position == 0:
            _build_as_then(guest, Backup.objects.select_related("image").get(pk=operation.params["backup"]))
        volume_tell_guest(fresh)
    volumes_say(rows.values())
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def _give_way(former: Volume, fresh: Volume, guest: Guest, today: date) -> None:
    """The former disk hangs on no machine; what the machine knew of it is the fresh one's, which is not saved yet."""
    fresh.known_as, former.known_as = former.serial, serial_of(fresh.pk)
    fresh.boot_order, fresh.delete_with_guest = former.boot_order, former.delete_with_guest
    former.name = former_name(former, guest, today)
    former.guest, former.position, former.boot_order, former.delete_with_guest = None, 0, 0, False
    former.version += 1
    former.save()


def _build_as_then(guest: Guest, backup: Backup) -> None:
    guest.image = backup.image
    built = hardware_take(guest, backup.image, former=backup)
    guest.version += 1
    guest.save(update_fields=["image", *built, "version"])
