"""A ``FakeHost``'s pools of several kinds."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from vms.hypervisor.driver import SeenPool, SeenVolume
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.fake.host import FakePool
from vms.hypervisor.fake.storage import Storage, ensure_volume, place_of, seen_pool
from vms.hypervisor.xml.pool import PoolSpec


class Pools(Storage):
    """The protocol's verbs for pools besides our own directory; a pool that is shared is one object for all hosts."""

    def ensure_pool_as(self, spec: PoolSpec) -> SeenPool:
        with self._host.call("ensure_pool_as"):
            there = self._host.pools.get(spec.name)
            if there is not None and there.spec not in (None, spec):
                raise Refused(f"pool {spec.name} is there and is another one")
            if there is None:
                there = self._host.shares.get(spec.path) or FakePool(spec.path or spec.source)
                there.spec = spec
                self._host.pools[spec.name] = there
            return seen_pool(spec.name, there)

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
        with self._host.call("copy_volume"):
            there, source = self._get_pool(pool), self._get_pool(base_pool).volumes.get(base)
            if source is None:
                raise Missing(f"pool {base_pool} has no volume {base}")
            seen, checksum = source
            made = replace(
                seen,
                name=name,
                path=place_of(there, name),
                format=disk_format,
                capacity=max(capacity, seen.capacity),
                backing_path="",
            )
            there.volumes.pop(name, None)
            ensure_volume(there, made)
            there.volumes[name] = (made, checksum)
            return made
