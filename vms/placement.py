"""Which host takes a guest, or why none does; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from vms.states import HostState

RESERVE_MIB: Final = 512
"""Memory a host keeps for itself."""


@dataclass(frozen=True, slots=True)
class Room[H]:
    """One host's capacity and what is claimed of it; memory in MiB, disk in GiB (None: the pool has not been measured)."""

    host: H
    name: str
    state: HostState
    enabled: bool
    cpus: int
    memory_mib: int
    cpu_overcommit: Decimal
    memory_overcommit: Decimal
    claimed_vcpus: int
    claimed_memory_mib: int
    disk_free_gib: int | None

    def lacks(self, vcpus: int, memory_mib: int, disk_gib: int) -> str:
        """Empty where the guest fits; else one word for what is missing."""
        if not self.enabled:
            return "disabled"
        if self.state != HostState.UP:
            return "silent"
        if vcpus > self.cpus:
            return "too_few_cpus"
        if self.claimed_vcpus + vcpus > self.cpus * self.cpu_overcommit:
            return "cpu"
        if self.claimed_memory_mib + memory_mib > self.memory_mib * self.memory_overcommit:
            return "memory"
        if self.disk_free_gib is not None and disk_gib > self.disk_free_gib:
            return "disk"
        return ""

    def slots(self, vcpus: int, memory_mib: int, disk_gib: int) -> int:
        """How many such guests fit, capped at 1,000."""
        if self.lacks(vcpus, memory_mib, disk_gib):
            return 0
        by_cpu = int((self.cpus * self.cpu_overcommit - self.claimed_vcpus) // vcpus)
        by_memory = int((self.memory_mib * self.memory_overcommit - self.claimed_memory_mib) // memory_mib)
        by_disk = 1000 if self.disk_free_gib is None else self.disk_free_gib // max(1, disk_gib)
        return max(0, min(by_cpu, by_memory, by_disk, 1000))


@dataclass(frozen=True, slots=True)
class Choice[H]:
    """The chosen host, or None with what each lacked (by host name; for operators)."""

    host: H | None
    lacking: dict[str, str]


def choose[H](rooms: Sequence[Room[H]], *, vcpus: int, memory_mib: int, disk_gib: int) -> Choice[H]:
    """The host with the largest share of free memory that has room; ties go to the name that sorts first."""
    lacking = {room.name: room.lacks(vcpus, memory_mib, disk_gib) for room in rooms}
    fitting = [room for room in rooms if not lacking[room.name]]
    if not fitting:
        return Choice(None, lacking)

    def freedom(room: Room[H]) -> tuple[Decimal, str]:
        return -(1 - Decimal(room.claimed_memory_mib) / (room.memory_mib * room.memory_overcommit)), room.name

    return Choice(min(fitting, key=freedom).host, {name: word for name, word in lacking.items() if word})
