"""The part of the interface that speaks of a domain's disks: what hangs on it, live and for its next start.

A disk is known by the path of its file, since that holds the volume's id; its target says where the guest finds it. Each
verb looks at both definitions first and changes only what is not yet so, so that it mends what a former call left half done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vms.hypervisor.xml.devices import Disk, IoTune
from vms.hypervisor.xml.metadata import Owner

if TYPE_CHECKING:
    from vms.hypervisor.driver import Roots, SeenVolume


@dataclass(frozen=True, slots=True)
class SeenDisk:
    """A disk as one of a domain's definitions has it; limits are totals a second, 0 is none; ``boot_order`` 0 takes no part.

    ``is_open``: a CD whose tray the guest has opened.
    """

    path: str
    target: str
    bytes_per_s: int = 0
    iops: int = 0
    boot_order: int = 0
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class SeenDisks:
    """A domain's disks: those of its next start, and those it has now; ``live`` is None where it does not run."""

    kept: tuple[SeenDisk, ...]
    live: tuple[SeenDisk, ...] | None = None

    def everywhere(self) -> tuple[tuple[SeenDisk, ...], ...]:
        """The definitions there are."""
        return (self.kept,) if self.live is None else (self.live, self.kept)

    def paths(self) -> frozenset[str]:
        """Every file that either definition names."""
        return frozenset(disk.path for disks in self.everywhere() for disk in disks)


class Disks(Protocol):
    """Verbs on a domain's disks and on the volumes below them."""

    def disks(self, uuid: str) -> SeenDisks:
        """``Missing`` where there is no such domain."""

    def attach_disk(self, uuid: str, disk: Disk, *, owner: Owner, roots: Roots) -> None:
        """Have the domain have ``disk``, now if it runs and at its next start; first live, so that a refusal leaves nothing.

        ``Refused`` where its target holds another file, the domain is not ours, or no slot is free; ``Missing`` without it.
        """

    def detach_disk(self, uuid: str, path: str, *, owner: Owner, timeout_s: float) -> None:
        """Have the domain not have the file any more; a domain that is not there has none.

        Live first: a running guest has to let go. ``Busy`` where it did not within ``timeout_s``; then nothing has changed,
        but it may yet let go later.
        """

    def limit_disk(self, uuid: str, path: str, tune: IoTune | None, *, owner: Owner) -> None:
        """Give the disk these limits, now and at the next start; None takes all off. ``Missing`` without the disk."""

    def resize_volume(self, pool: str, name: str, *, capacity: int, uuid: str = "") -> SeenVolume:
        """Grow a volume to ``capacity`` bytes, through the domain ``uuid`` where that runs; one as large or larger stays.

        ``Missing`` without the volume; never shrinks.
        """

    def wipe_volume(self, pool: str, name: str, *, progress: Callable[[int, int], None] | None = None) -> None:
        """Write zeros over all that the volume's file takes; it holds nothing afterwards, not even its format.

        Missing is fine. ``progress`` is called with the bytes written and the bytes to write. Nobody may have it open.
        """
