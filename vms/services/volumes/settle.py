"""What the end of an operation on a volume returns or confirms; in the ending transaction, for every terminal status."""

from __future__ import annotations

from operations.models import Operation
from operations.services import operation_submit
from operations.states import Status
from portal.core.clock import now
from tenants.actors import system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.journal.usage import usage_close
from tenants.services.quota import quota_release
from vms.models import Guest, Volume
from vms.services.volumes.check import guest_locked
from vms.services.volumes.record import (
    volume_cost,
    volume_meter,
    volume_room,
    volume_tell_guest,
    volumes_going,
    volumes_say,
)
from vms.services.volumes.remove import volume_clear
from vms.states import VolumeState


def _volume(operation: Operation) -> Volume | None:
    """The volume, locked after its machine; the locks of the operation keep both where they are."""
    rows = Volume.objects.filter(pk=operation.subject_id)
    found = rows.first()
    if found is None:
        return None
    if found.guest_id is not None:
        guest_locked(found.guest_id)
    rows = rows.select_for_update(of=("self",))
    return rows.select_related("tenant", "storage_class", "pool__host").get()


def _ended(operation: Operation) -> bool:
    return operation.status == Status.SUCCEEDED


def _began(operation: Operation) -> bool:
    """May a worker have touched the host?"""
    return operation.started_at is not None


def created(operation: Operation) -> None:
    """Made: it stands. Not made: what may lie on the host is cleared away, and what it held returns with that."""
    volume = _volume(operation)
    if volume is None:
        return
    if not _ended(operation):
        if not _began(operation):
            volume_forget(volume)
            return
        volume_clear(volume, actor=system_actor(volume.tenant, why="settle"), after=operation)
        return
    volumes_say([volume])


def attached(operation: Operation) -> None:
    """Plugged in, or not: then it is taken off again, since half of it may be done, and is its machine's until that is sure."""
    volume = _volume(operation)
    if volume is None:
        return
    if not _ended(operation):
        if not _began(operation):
            _let_go(volume)
            return
        operation_submit(
            volume,
            kind="volume.detach",
            actor=system_actor(volume.tenant, why="settle"),
            after=operation,
            lane=operation.lane,
            params=operation.params,
        )
    volumes_say([volume])


def detached(operation: Operation) -> None:
    """Off: nobody's. Not off, or nobody knows: it stays its machine's, so that nothing else is done with it."""
    volume = _volume(operation)
    if volume is None:
        return
    if _ended(operation):
        _let_go(volume)
        return
    volumes_say([volume])


def extended(operation: Operation) -> None:
    """Larger: the ledger follows. Not larger: the room returns.

    Where that is not sure, since its host fell silent, the sweep finds a larger file and counts it (``volume_follow``).
    """
    volume = _volume(operation)
    if volume is None:
        return
    if _ended(operation):
        volume_meter(volume)
        volume_tell_guest(volume)
    else:
        before = int(operation.params["before"])
        quota_release(volume.tenant, volume_room(volume.storage_class, volume.size_gib - before))
        volume.size_gib = before
        volume.version += 1
        volume.save(update_fields=["size_gib", "version"])
    volumes_say([volume])


def limited(operation: Operation) -> None:
    """In force, or back to what was."""
    volume = _volume(operation)
    if volume is None:
        return
    if not _ended(operation):
        volume.iops, volume.mbps = int(operation.params["iops"]), int(operation.params["mbps"])
        volume.version += 1
        volume.save(update_fields=["iops", "mbps", "version"])
    volumes_say([volume])


def deleted(operation: Operation) -> None:
    """Its file is gone: forget it and return what it held. Not gone: of no use, unless it was whole and nobody had begun."""
    volume = _volume(operation)
    if volume is None:
        return
    if _ended(operation):
        volume_forget(volume)
        return
    if not _began(operation) and operation.params["was_ready"]:
        volume.state = VolumeState.READY
        volume.version += 1
        volume.save(update_fields=["state", "version"])
    volumes_say([volume])


def volumes_let_go(guest: Guest) -> None:
    """A machine is off its host for good: the data volumes that do not go with it are kept, and nobody's."""
    kept = Volume.objects.filter(guest=guest).exclude(pk__in=volumes_going(guest).values("pk"))
    for volume in kept.select_related("tenant"):
        _let_go(volume)


def _let_go(volume: Volume) -> None:
    guest = volume.guest_id
    volume.guest, volume.position, volume.boot_order, volume.delete_with_guest = None, 0, 0, False
    volume.version += 1
    volume.save(update_fields=["guest", "position", "boot_order", "delete_with_guest", "version"])
    volumes_say([volume])
    if guest is not None:
        event_append(volume.tenant, "guest.changed", "guest", guest)


def volume_forget(volume: Volume) -> None:
    """Its file is gone, or never was: its row goes, and what it held returns."""
    tenant, pk, guest = volume.tenant, volume.pk, volume.guest_id
    quota_release(tenant, volume_cost(volume.storage_class, volume.size_gib))
    usage_close(tenant, resource_ids=[pk], at=now())
    audit_record(system_actor(tenant, why="settle"), "volume.deleted", volume)
    volume.delete()
    event_append(tenant, "volume.deleted", "volume", pk)
    if guest is not None:
        event_append(tenant, "guest.changed", "guest", guest)
