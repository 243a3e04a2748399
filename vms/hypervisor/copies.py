"""The part of the interface that brings a snapshot's content to the worker, while whoever uses the disk goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file of a disk on the worker. It names no other file: what stands on what is the order they come in."""

    file: Path
    format: Literal["qcow2", "raw"]


class Copies(Protocol):
    """Verbs for copying disks."""

    def fetch_snapshot(
        self,
        pool: str,
        name: str,
        snapshot: str,
        *,
        scratch: Path,
        progress: Callable[[int, int], None],
    ) -> tuple[Fetched, ...]:
        """Fetch what the volume held in ``snapshot`` into the folder ``scratch``: topmost first, each file over the next.

        Of the topmost that moment alone shows, in the size that it had. The volume may be written to meanwhile, snapshots of it
        may come and go, but for this one: ``Missing`` where it is not there, also once all is read. ``progress`` is called with
        the bytes fetched and the bytes in all, first before any is; what it raises ends it.
        """
