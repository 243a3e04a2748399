"""Which disk of a backup takes which place of its machine, what that costs, and where it lies; nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from django.utils.translation import gettext as _

from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid
from portal.core.units import GIB
from vms.models import Backup, BackupDisk, Guest, Snapshot, StorageClass, StoragePool, Volume
from vms.models.hardware import HARDWARE
from vms.services.backups.retention import clocks
from vms.services.guests.hardware import refuse_unbuildable
from vms.services.volumes.check import POSITIONS, refuse_kept, refuse_volume
from vms.services.volumes.create import NoStorage, default_class, pool_choose
from vms.services.volumes.record import guest_with, volume_cost
from vms.states import ON, Power

KNOWS: Final = frozenset({*ON, Power.SUSPENDED})
"""What a machine does while it, or the memory that was saved of it, knows what is on its disks."""
NAME_MAX: Final = 63


@dataclass(frozen=True, slots=True)
class Change:
    """A disk of the backup that comes to ``position`` of the machine: in place of ``present``, or back where there is none."""

    disk: BackupDisk
    present: Volume | None
    position: int
    storage_class: StorageClass

    @property
    def size_gib(self) -> int:
        """As large as it was, or as the disk is by now: none becomes smaller."""
        return max(self.disk.size_gib, self.present.size_gib if self.present is not None else 0)

    @property
    def name(self) -> str:
        """That of the disk whose place it takes."""
        return self.present.name if self.present is not None else self.disk.name


def changes_of(backup: Backup, guest: Guest, places: Collection[int] | None = None) -> list[Change]:
    """What becomes of the disks of ``backup`` at ``places``, of all where None, as the machine has its disks now.

    The first takes the first one's place. Any other goes by its serial, which stays with the place of a disk, so that one
    that was put back or plugged in elsewhere since is found; one that the machine has no more comes to its former place, or a
    free one. Raises ``Invalid`` for a place that the backup has not, ``Conflict`` where the machine has no place left.
    """
    disks = _chosen(list(backup.disks.order_by("position")), places)
    rows = Volume.objects.filter(guest=guest).select_related("storage_class", "pool__host")
    present = {volume.position: volume for volume in rows}
    by_serial = {volume.serial: volume for volume in present.values() if volume.position}
    other = default_class()
    taken, changes = set(present), []
    for disk in disks:
        found = present[0] if disk.position == 0 else by_serial.get(disk.serial)
        position = found.position if found is not None else _free(disk.position, taken)
        taken.add(position)
        changes.append(Change(disk, found, position, found.storage_class if found is not None else other))
    return changes


def _chosen(disks: Sequence[BackupDisk], places: Collection[int] | None) -> list[BackupDisk]:
    if places is None:
        return list(disks)
    if not places or set(places) - {disk.position for disk in disks}:
        raise Invalid(errors=[FieldError("/disks", "unknown", _("Choose disks that the backup has."))])
    return [disk for disk in disks if disk.position in places]


def _free(position: int, taken: Collection[int]) -> int:
    places: list[int] = [position, *POSITIONS]
    for place in places:
        if place not in taken:
            return place
    raise Conflict(
        _("This machine has as many volumes as it can have."), code="too_many_volumes", hint=_("Detach one first.")
    )


def former_name(volume: Volume, guest: Guest, today: date) -> str:
    """What a disk of the machine is called once another has its place."""
    tail = f"-before-{today.isoformat()}"
    return (guest.name if volume.position == 0 else volume.name)[: NAME_MAX - len(tail)].rstrip("-") + tail


def today_of(guest: Guest) -> date:
    """The day that its project has."""
    return now().astimezone(clocks(guest.tenant.timezone)).date()


def cost_of(changes: Sequence[Change], guest: Guest) -> dict[str, int]:
    """What the new disks hold of the quota beside those that are there, and how big the machine is with them."""
    cost: Counter[str] = Counter()
    for change in changes:
        cost.update(volume_cost(change.storage_class, change.size_gib))
    fresh = [change for change in changes if change.present is None]
    grown = sum(change.size_gib - (change.present.size_gib if change.present else 0) for change in changes)
    return dict(cost) | guest_with(guest, volumes=len(fresh), size_gib=grown)


def pools_of(changes: Sequence[Change], guest: Guest) -> list[StoragePool | None]:
    """Where each lies: beside the disk whose place it takes; raises ``NoStorage`` where they have no room together."""
    pools: list[StoragePool | None] = []
    wanted: Counter[StoragePool] = Counter()
    for change in changes:
        if change.present is not None:
            pool = change.present.pool
        else:
            pool = pool_choose(
                change.storage_class, change.size_gib, guest=guest, can=lambda ability: ability.format == "qcow2"
            )
        pools.append(pool)
        if pool is not None:
            wanted[pool] += change.size_gib
    if any(pool.capacity and pool.available < size * GIB for pool, size in wanted.items()):
        raise NoStorage
    return pools


def refuse_held(changes: Sequence[Change], guest: Guest, *, keep: bool) -> None:
    """Raise ``Conflict`` where a disk whose place is taken is not ready, or a snapshot holds it.

    A snapshot of the machine is of all its disks at one moment and lies inside of them, so that none leaves the machine alone.
    One of a single volume goes with it, but for a volume that is to be deleted.
    """
    for change in changes:
        if change.present is None:
            continue
        refuse_volume(change.present)
        if not keep or Snapshot.objects.filter(guest=guest, disks__volume=change.present).exists():
            refuse_kept(change.present, _("Snapshots hold the disks of this machine as they are now."))


def refuse_running(guest: Guest, *, stop: bool) -> None:
    """Raise ``Conflict`` for a machine that knows its disks, unless it is to be stopped."""
    if guest.seen_power in KNOWS and not stop:
        raise Conflict(
            _("This machine is not off."), code="not_off", hint=_("Stop it first, or have it stopped for this.")
        )


def refuse_protected(guest: Guest, *, keep: bool) -> None:
    """Raise ``Conflict`` where a protected machine would lose disks."""
    if guest.protected and not keep:
        raise Conflict(
            _("This machine is protected against deletion."),
            code="protected",
            hint=_("Keep the disks as they are now, or take the protection off first."),
        )


def refuse_unlike(changes: Iterable[Change], guest: Guest, backup: Backup) -> None:
    """Raise ``Conflict`` where the first disk is to be put back and the machine's host cannot build it as it was then."""
    if any(change.position == 0 for change in changes):
        refuse_unbuildable(guest, backup)


def has_other_firmware(backup: Backup, guest: Guest) -> bool:
    """Had it other firmware then, or another TPM? What those of now remember is of no use to what the backup holds."""
    return any(getattr(backup, name) != getattr(guest, name) for name in ("firmware", "secure_boot", "tpm"))


def is_built_otherwise(backup: Backup, guest: Guest) -> bool:
    """Was the machine built otherwise then (firmware, TPM, bus, cards)? It was rebuilt since."""
    return any(getattr(backup, name) != getattr(guest, name) for name in HARDWARE)
