"""Which disks of a machine are made of one another, as far as rows know: their file systems have the same labels and ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from vms.models import Backup, Guest, Volume
from vms.services.putback.plan import Change
from vms.states import ImageKind

type Disk = tuple[str, UUID | str | None]
"""What holds, or held, what a disk does: a volume, one that is gone (by its serial), a disk of a backup, or an image."""


def twins_of(backup: Backup, guest: Guest, changes: Sequence[Change]) -> dict[int, list[int]]:
    """By places of ``guest`` after ``changes`` from ``backup``: at which others there are disks like the one there.

    Of disks that stay only those like one that comes; among themselves they are what they were. Two queries.
    """
    family = Families()
    edges = Volume.objects.values_list(
        "pk", "image", "snapshot_disk__volume", "source", "source__volume", "source__known_as"
    )
    for pk, image, copied, source, backed_up, serial in edges:
        family.join(("volume", pk), ("image", image))
        family.join(("volume", pk), ("volume", copied))
        family.join(("volume", pk), ("backup", source))
        family.join(("backup", source), _was(backed_up, serial))
    comes: dict[int, Disk] = {change.position: ("backup", change.disk.pk) for change in changes}
    for change in changes:
        family.join(comes[change.position], _was(change.disk.volume_id, change.disk.serial))
        if change.disk.position == 0 and backup.image.kind == ImageKind.DISK:
            family.join(comes[change.position], ("image", backup.image_id))
    stay = Volume.objects.filter(guest=guest).exclude(position__in=comes).values_list("position", "pk")
    disks: dict[int, Disk] = comes | {position: ("volume", pk) for position, pk in stay}
    return {
        place: others
        for place, disk in disks.items()
        if (others := [
            other
            for other in sorted(disks)
            if other != place and (place in comes or other in comes) and family.has_both(disk, disks[other])
        ])
    }  # fmt: skip


def _was(volume: UUID | None, serial: str | None) -> Disk:
    """What a disk of a backup was read from."""
    return ("volume", volume) if volume is not None else ("gone", serial or None)


class Families:
    """Things joined two by two; what is joined by way of others is of one family. Nothing is joined to what is not known."""

    def __init__(self) -> None:
        self.above: dict[Any, Any] = {}

    def join(self, one: Disk, other: Disk) -> None:
        """These two are of one family."""
        if one[1] is not None and other[1] is not None:
            self.above[self._first(one)] = self._first(other)

    def has_both(self, one: Disk, other: Disk) -> bool:
        """Are these two of one family?"""
        return one[1] is not None and other[1] is not None and self._first(one) == self._first(other)

    def _first(self, disk: Disk) -> Disk:
        path: list[Disk] = []
        while (above := self.above.get(disk, disk)) != disk:
            path.append(disk)
            disk = above
        self._shorten(path, disk)
        return disk

    def _shorten(self, path: Iterable[Disk], first: Disk) -> None:
        for disk in path:
            self.above[disk] = first
