"""Volumes: what became of them on their pool, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet

from operations.selectors import operations_live_on
from operations.services import Hold
from portal.core.clock import now
from tenants.journal.events import event_append
from tenants.journal.usage import usage_switch
from tenants.scoping import tenant_scope
from tenants.services.quota import class_disk, quota_reserve
from vms.models import BackupDisk, Guest, SnapshotDisk, StorageClass, Volume
from vms.states import VolumeState


def volume_record(volume: Volume, state: VolumeState) -> None:
    """Write down a volume's state on its pool."""
    if volume.state != state:
        volume.state = state
        volume.save(update_fields=["state"])


def volume_doom(volume: Volume) -> None:
    """From now on nobody has to do with it but who deletes it; the caller's operation holds it. Safe to repeat."""
    if volume.state != VolumeState.DELETING:
        volume.state = VolumeState.DELETING
        volume.version += 1
        volume.save(update_fields=["state", "version"])
        volumes_say([volume])


def made_of(source: BackupDisk | SnapshotDisk | None) -> dict[str, Any]:
    """The columns that say what a new volume is made of."""
    return {"snapshot_disk" if isinstance(source, SnapshotDisk) else "source": source}


def copy_hold(snapshot: UUID, *, alone: bool = False) -> Hold:
    """What whoever copies from a snapshot holds with others, and whoever changes or drops it ``alone``."""
    return Hold("snapshot_copy", snapshot, exclusive=alone)


def source_holds(volumes: QuerySet[Volume]) -> list[Hold]:
    """What is held, with others, while these volumes are made: snapshots, backups and their repositories they are made of."""
    made_of = volumes.exclude(source=None).values_list("source__backup", "source__backup__repository")
    found = {("backup", backup) for backup, _repository in made_of}
    found |= {("backup_repository", repository) for _backup, repository in made_of}
    snapshots = set(volumes.exclude(snapshot_disk=None).values_list("snapshot_disk__snapshot", flat=True))
    return [*(Hold(kind, pk, exclusive=False) for kind, pk in sorted(found)), *map(copy_hold, sorted(snapshots))]


def volume_cost(storage_class: StorageClass, size_gib: int) -> dict[str, int]:
    """What one volume holds of its tenant's quota."""
    return {"volumes": 1, **volume_room(storage_class, size_gib)}


def volume_room(storage_class: StorageClass, size_gib: int) -> dict[str, int]:
    """What ``size_gib`` more of a class hold."""
    return {"disk_gib": size_gib, class_disk(storage_class.name): size_gib}


def guest_with(guest: Guest | None, *, volumes: int, size_gib: int) -> dict[str, int]:
    """How big a guest would be with that many volumes and GiB more, for the limits on one machine; nothing without one."""
    if guest is None:
        return {}
    sizes = list(Volume.objects.filter(guest=guest).values_list("size_gib", flat=True))
    return {"guest_volumes": len(sizes) + volumes, "guest_disk_gib": sum(sizes) + size_gib}


def volume_meter(volume: Volume) -> None:
    """From now on the ledger counts the volume as large as its row says. Safe to repeat."""
    usage_switch(
        volume.tenant,
        resource_type="volume",
        resource_id=volume.pk,
        meter="disk_gib",
        quantity=volume.size_gib,
        at=now(),
        storage_class=volume.storage_class.name,
    )


def volume_follow(volume: Volume, *, size_gib: int) -> bool:
    """Its file is larger than its row says, and nobody is at it: it happened, so it counts, whatever the limit. True if so.

    Not of one that is gone or hangs elsewhere since it was looked at. An extension whose answer was lost, and whose host
    fell silent until its time was over, ends so. Safe to repeat.
    """
    with tenant_scope(volume.tenant), transaction.atomic():
        guests = [] if volume.guest_id is None else [volume.guest_id]
        list(Guest.objects.select_for_update().filter(pk__in=guests).values("pk"))  # first, as everybody does it
        rows = Volume.objects.select_for_update(of=("self",)).select_related("tenant", "storage_class")
        row = rows.filter(pk=volume.pk, guest=volume.guest_id).first()
        if row is None or size_gib <= row.size_gib:
            return False
        if operations_live_on("volume", [row.pk]) or operations_live_on("guest", guests):
            return False
        quota_reserve(row.tenant, volume_room(row.storage_class, size_gib - row.size_gib), forced=True)
        row.size_gib = size_gib
        row.version += 1
        row.save(update_fields=["size_gib", "version"])
        volume_meter(row)
        volume_tell_guest(row)
        event_append(row.tenant, "volume.changed", "volume", row.pk)
        return True


def volume_tell_guest(volume: Volume) -> None:
    """A machine's own figure is its first disk's."""
    if volume.guest_id is not None and volume.is_root:
        Guest.objects.filter(pk=volume.guest_id).update(disk_gib=volume.size_gib, version=F("version") + 1)


def volumes_going(guest: Guest) -> QuerySet[Volume]:
    """The disks that are deleted when the guest is gone for good; of one that was never built, all."""
    rows = Volume.objects.filter(guest=guest).select_related("storage_class")
    return rows if guest.built_at is None else rows.filter(Q(position=0) | Q(delete_with_guest=True))


def volumes_say(volumes: Iterable[Volume]) -> None:
    """Tell whoever looks at these volumes, and at the machines they hang on, that they changed."""
    for volume in volumes:
        event_append(volume.tenant, "volume.changed", "volume", volume.pk)
        if volume.guest_id is not None:
            event_append(volume.tenant, "guest.changed", "guest", volume.guest_id)
