"""The part of the interface that speaks of pools of several kinds, and of disks that are whole copies instead of overlays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from vms.hypervisor.xml.pool import PoolSpec

if TYPE_CHECKING:
    from vms.hypervisor.driver import SeenPool, SeenVolume


class Pools(Protocol):
    """Verbs on pools besides our own directory, and on volumes in them."""

    def ensure_pool_as(self, spec: PoolSpec) -> SeenPool:
        """The pool, defined and started; a directory is made, everything else has to be there.

        ``Refused`` where a pool of that name is another one, or where the host cannot reach what it comes from.
        """

    def copy_volume(
        self,
        pool: str,
        name: str,
        *,
        base_pool: str,
        base: str,
        capacity: int,
        disk_format: Literal["qcow2", "raw"],
    ) -> SeenVolume:
        """A volume of ``capacity`` bytes that holds what the volume ``base`` of ``base_pool`` holds, and stands on nothing.

        One of that name is replaced: half a copy cannot be told from a whole one. ``Missing`` without its base.
        """
