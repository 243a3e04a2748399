"""Which disk is copied, and may it be?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django.utils.translation import gettext as _

from portal.core.errors import Conflict, FieldError, Invalid
from portal.core.ids import uuid7
from portal.core.units import GIB
from tenants.actors import Actor
from tenants.policy import Permission
from vms.disks.inspect import Limits
from vms.models import Guest, Snapshot, SnapshotDisk, Volume
from vms.services.snapshots import snapshot_create
from vms.services.snapshots.check import locked, refuse_pool, refuse_unready
from vms.services.volumes.check import refuse_volume

COPY_MAX_GIB: Final = Limits().max_virtual_size // GIB


def readable(snapshot: Snapshot, *, actor: Actor) -> tuple[Snapshot, Guest | None, list[SnapshotDisk]]:
    """A snapshot to copy from, read anew and locked with its machine, and its disks by position.

    Raises ``Forbidden`` for who may not manage it, ``Conflict`` where it is not whole or its host does not answer.
    """
    actor.require(Permission.SNAPSHOT_MANAGE, snapshot)
    snapshot, guest = locked(snapshot, actor=actor)
    refuse_unready(snapshot)
    disks = list(snapshot.disks.select_related("volume__pool__host", "volume__storage_class", "volume__image"))
    refuse_uncopied(disks, now=False)
    return snapshot, guest, sorted(disks, key=lambda disk: disk.position)


def disk_at(disks: list[SnapshotDisk], position: int | None) -> SnapshotDisk:
    """The one at that place of the machine, the first where none is named; raises ``Invalid``."""
    found = next((disk for disk in disks if position is None or disk.position == position), None)
    if found is None:
        raise Invalid(errors=[FieldError("/position", "unknown", _("The snapshot has no such disk."))])
    return found


def refuse_too_large(disk: SnapshotDisk) -> None:
    """Raise ``Conflict`` where the disk is larger than what is made one file of; asked before anything is read of it."""
    if disk.size_gib > COPY_MAX_GIB:
        raise Conflict(
            _("A disk of more than %(most)d GiB cannot be copied."),
            code="too_large_to_copy",
            hint=_("Copy what is on it from inside of the machine."),
            most=COPY_MAX_GIB,
        )


def passing_snapshot(of: Guest | Volume, *, actor: Actor) -> tuple[Snapshot, list[SnapshotDisk]]:
    """Ask for a snapshot of a machine or a volume as it is now, to copy from, and its disks by position.

    It is taken before the copy begins, counts as any other, and goes once nobody copies from it (``snapshots_tidy``). Raises
    what ``snapshot_create`` raises.
    """
    name = f"copy-{uuid7().hex[-12:]}"
    operation = snapshot_create(of, name=name, description=_("Taken to copy from."), actor=actor, passing=True)
    snapshot = Snapshot.objects.select_related("tenant").get(pk=operation.subject_id)
    return snapshot, list(snapshot.disks.select_related("volume__storage_class", "volume__image").order_by("position"))


def refuse_uncopied(disks: Iterable[SnapshotDisk], *, now: bool) -> None:
    """Raise ``Conflict`` where one of the disks cannot be copied: it is not there, its host is silent, it keeps no snapshots."""
    for disk in disks:
        refuse_volume(disk.volume)
        if now:
            refuse_pool(disk.volume)


def disks_now(guest: Guest) -> list[SnapshotDisk]:
    """What a snapshot taken now would say of its disks; not saved."""
    volumes = Volume.objects.filter(guest=guest).select_related("storage_class", "image", "pool__host")
    volumes = volumes.order_by("position")
    return [SnapshotDisk(volume=volume, position=volume.position, size_gib=volume.size_gib) for volume in volumes]
