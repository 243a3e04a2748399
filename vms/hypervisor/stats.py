"""What running domains have used since they were started, as plain counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went through one disk or network card: ``in_`` is read or received by the guest, ``out_`` written or sent.

    ``count`` is operations of a disk, packets of a card.
    """

    in_bytes: int = 0
    out_bytes: int = 0
    in_count: int = 0
    out_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainStats:
    """Counters of one running domain; they begin at zero with each ``run``, a number that no two starts on a host share.

    ``memory_used_kib`` is what the guest itself says (its balloon driver), so any number at all; ``memory_told_at`` is when,
    in seconds of the host's clock. None and 0 where it has said nothing. ``disks`` are by device name, ``nics`` by MAC.
    ``generation`` is what the definition says that it was started with: two starts have both numbers in common only where
    somebody started it behind the portal's back, on a daemon that began to count anew.
    """

    uuid: str
    run: int
    generation: int = 0
    cpu_ns: int = 0
    memory_used_kib: int | None = None
    memory_told_at: int = 0
    disks: Mapping[str, Traffic] = field(default_factory=dict)
    nics: Mapping[str, Traffic] = field(default_factory=dict)
