"""The part of the interface that changes how large a machine is while it runs.

Only upwards: taking a processor or memory from a running guest needs its consent, and ends QEMU without KVM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    pass

BLOCK_MIB = 128
"""A guest takes memory into use in blocks of this size; what is added must be a multiple of it."""
SLOTS = 8
"""How often memory can be added between two starts."""


@dataclass(frozen=True, slots=True)
class SeenSize:
    """A domain's vCPUs and memory as it has them now, and how far it can grow without a restart.

    For a domain that does not run: as its definition says.
    """

    vcpus: int
    memory_mib: int
    vcpus_max: int
    memory_mib_max: int
    slots_free: int

    def can_grow_to(self, vcpus: int, memory_mib: int) -> bool:
        """Can it, as it stands, take this size without a restart?"""
        more = memory_mib - self.memory_mib
        fits = self.vcpus <= vcpus <= self.vcpus_max and more >= 0 and memory_mib <= self.memory_mib_max
        return fits and more % BLOCK_MIB == 0 and (more == 0 or self.slots_free > 0)


class Sizes(Protocol):
    """Verbs on the size of a domain and of a volume."""

    def size(self, uuid: str) -> SeenSize:
        """``Missing`` where there is no such domain."""

    def add_vcpus(self, uuid: str, vcpus: int) -> None:
        """Have a running domain have ``vcpus`` in all; one that has as many stays. ``Refused`` above its maximum."""

    def add_memory(self, uuid: str, memory_mib: int) -> None:
        """Have a running domain have ``memory_mib`` in all, by one module more; one that has as much stays.

        ``Refused`` above its maximum, without a free slot, or for what is no multiple of ``BLOCK_MIB``.
        """
