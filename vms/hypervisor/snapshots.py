"""The part of the interface that speaks of snapshots: the state of disks at one moment, kept inside their own files.

A snapshot is known by its name, the same in each of its disks; a disk by the path of its file, which never changes. Each verb
looks whether the domain runs on the disks, and then asks its QEMU; what nobody has open is changed by the host itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vms.hypervisor.xml.metadata import Owner, Tag

if TYPE_CHECKING:
    from vms.hypervisor.driver import Roots


@dataclass(frozen=True, slots=True)
class SeenSnapshot:
    """One entry of a file's own table: the disk's size then, and how much memory lies with it, in bytes."""

    name: str
    capacity: int
    memory: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Awake:
    """How a domain comes back with its memory: the definition it had, exactly these disks, and what is new about it."""

    definition: str
    paths: Collection[str]
    tag: Tag
    password: str


class Snapshots(Protocol):
    """Verbs on snapshots."""

    def snapshots(self, pool: str, name: str) -> tuple[SeenSnapshot, ...]:
        """Those that a volume's file holds, whoever has it open; ``Missing`` without the volume."""

    def take_snapshot(
        self, name: str, paths: Sequence[str], *, uuid: str, owner: Owner, roots: Roots, freeze: bool
    ) -> bool:
        """Keep the state of all ``paths`` at one moment, in place of what an earlier attempt left under that name.

        ``uuid`` may run on all of them or on none; empty, or not there, is none. With ``freeze`` its agent is asked first, at
        most 5 s, to write everything and hold still; gives whether it said that it did. It is let go again in any case.
        ``Refused`` where it runs on some of them only; then nothing was kept.
        """

    def take_memory(self, name: str, *, uuid: str, owner: Owner) -> str:
        """Keep all disks of a running domain and its memory; it stands still meanwhile. Gives its definition, no secrets in it.

        Replaces an earlier attempt. ``Refused`` where it does not run, ``Unsupported`` for firmware with variables of its own.
        """

    def revert_snapshot(self, name: str, paths: Sequence[str], *, owner: Owner, roots: Roots) -> None:
        """Put each disk's content and size back to what was kept; of disks that nobody has open (else ``Refused``).

        Bitmaps that a backup tracks changes with go: they say nothing of the disk's new content.
        """

    def wake_snapshot(self, name: str, awake: Awake, *, uuid: str, owner: Owner, roots: Roots) -> None:
        """Put a domain that is off back to the moment of a snapshot with memory: disks, memory, and on it runs.

        ``Refused`` where it runs, or where the definition names other disks than ``awake.paths`` or leaves ``roots``.
        """

    def drop_snapshot(self, name: str, paths: Sequence[str], *, uuid: str, owner: Owner, roots: Roots) -> None:
        """Have none of ``paths`` hold the snapshot any more; what only it held is free again. Without a file: fine."""
