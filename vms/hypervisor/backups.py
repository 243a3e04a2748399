"""The part of the interface that reads a machine's disks as they are at one moment, while it runs or is off.

A *checkpoint* is a mark from which the hypervisor remembers which blocks are written; each view of a running machine makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vms.hypervisor.xml.metadata import Owner


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of a disk, in bytes: does it hold anything but zeros, and has it changed since the checkpoint?"""

    offset: int
    length: int
    data: bool
    changed: bool


class DiskReader(Protocol):
    """A disk as it was at one moment; ``size`` in bytes."""

    size: int

    def extents(self) -> Iterator[Extent]:
        """All of it in order, without gaps."""

    def read(self, offset: int, length: int) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BackupView:
    """Disks of a running machine, held open at one moment.

    ``since`` is the checkpoint that changes are counted from, empty where they are not known. ``frozen``: its agent had flushed
    and stopped the file systems for that moment. ``targets`` by the path of the file.
    """

    uuid: str
    socket: str
    since: str
    frozen: bool
    targets: dict[str, str]


class Backups(Protocol):
    """Verbs for reading disks."""

    def backup_begin(
        self, uuid: str, paths: Sequence[str], *, checkpoint: str, since: str, socket: str, owner: Owner
    ) -> BackupView:
        """Hold these disks of a running machine as they are now, and mark this moment as ``checkpoint``.

        A view that was left open is closed first. Where changes since the checkpoint ``since`` are not known for sure, the
        view's own ``since`` is empty. The machine's agent is asked to freeze for the moment; a silent one is done without.
        ``Refused`` where the machine does not run or is not ours, ``Missing`` without it or one of the disks.
        """

    def backup_reader(self, view: BackupView, path: str) -> DiskReader:
        """One disk of the view."""

    def backup_end(self, uuid: str, *, socket: str, owner: Owner) -> None:
        """Let the disks go, thaw what is frozen, leave no file of it; of a machine that is off or gone there is nothing to do."""

    def checkpoints(self, uuid: str) -> tuple[str, ...]:
        """The names of a machine's checkpoints, oldest first; none where there is no such machine."""

    def drop_checkpoints(self, uuid: str, *, keep: Collection[str], owner: Owner) -> None:
        """Forget all checkpoints of a running machine but those; one that is off keeps what it has until it runs."""

    def volume_reader(
        self, pool: str, name: str, *, scratch: Path, at_most: int, progress: Callable[[int], None] | None = None
    ) -> DiskReader:
        """A volume that no machine uses, with what it stands on, fetched into the folder ``scratch`` first.

        ``progress`` is called with the bytes fetched so far. ``Missing`` without it. ``Refused`` before anything is fetched
        where it is a disk of more than ``at_most`` bytes or ``scratch`` has no room, and where more comes than the host said.
        """
