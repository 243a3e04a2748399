"""Snapshots of a ``FakeHost``'s disks: what a test wrote on them (``FakeHost.contents``), and their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vms.hypervisor.driver import Roots, SeenVolume
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.fake.domains import Domains, must_be_ours
from vms.hypervisor.fake.host import FakeDomain, FakeKept
from vms.hypervisor.fake.link import ACTIVE
from vms.hypervisor.fake.storage import Storage
from vms.hypervisor.paths import is_below
from vms.hypervisor.snapshots import Awake, SeenSnapshot
from vms.hypervisor.xml.metadata import Owner
from vms.states import Power


class Snapshots(Domains, Storage):
    """The protocol's verbs for snapshots."""

    def snapshots(self, pool: str, name: str) -> tuple[SeenSnapshot, ...]:
        with self._host.call("snapshots"):
            found = self._get_pool(pool).volumes.get(name)
            if found is None:
                raise Missing(f"pool {pool} has no volume {name}")
            kept = self._host.kept.get(found[0].path, {})
            return tuple(SeenSnapshot(each, was.capacity, was.memory) for each, was in kept.items())

    def take_snapshot(
        self, name: str, paths: Sequence[str], *, uuid: str, owner: Owner, roots: Roots, freeze: bool
    ) -> bool:
        with self._host.call("take_snapshot"):
            self._check(paths, roots)
            held = self._live_on(uuid, owner)
            running = [path for path in paths if path in held]
            if running and len(running) != len(paths):
                raise Refused(f"domain {uuid} runs on {len(running)} of {len(paths)} disks")
            self._keep(name, paths)
            return bool(running) and freeze and uuid in self._host.agent and self._get(uuid).power is Power.RUNNING

    def take_memory(self, name: str, *, uuid: str, owner: Owner) -> str:
        with self._host.call("take_memory"):
            domain = self._get(uuid)
            must_be_ours(domain, owner)
            if domain.power not in ACTIVE or domain.live_spec is None:
                raise Refused(f"domain {uuid} does not run: it has no memory")
            paths = sorted(disk.path for disk in domain.live if not disk.readonly)
            self._keep(name, paths, domain=domain)
            return f"<domain><uuid>{uuid}</uuid></domain>"

    def revert_snapshot(self, name: str, paths: Sequence[str], *, owner: Owner, roots: Roots) -> None:
        with self._host.call("revert_snapshot"):
            self._check(paths, roots)
            for path in paths:
                if name not in self._host.kept.get(path, {}):
                    raise Missing(f"{path} holds no snapshot {name}")
                if any(path in self._paths(each) for each in self._host.domains.values() if each.power in ACTIVE):
                    raise Refused(f"{path} is in use")
            for path in paths:
                self._put_back(path, self._host.kept[path][name])

    def wake_snapshot(self, name: str, awake: Awake, *, uuid: str, owner: Owner, roots: Roots) -> None:
        with self._host.call("wake_snapshot"):
            domain = self._get(uuid)
            must_be_ours(domain, owner)
            if domain.power in ACTIVE:
                raise Refused(f"domain {uuid} runs")
            kept = [self._host.kept.get(path, {}).get(name) for path in awake.paths]
            was = next((each for each in kept if each is not None and each.domain is not None), None)
            if None in kept or was is None or was.domain is None or was.domain.live_spec is None:
                raise Refused(f"no memory of {uuid} under {name}, or its disks are others now")
            for path in awake.paths:
                self._put_back(path, self._host.kept[path][name])
            domain.live_spec = replace(was.domain.live_spec, tag=awake.tag, disks=was.domain.live)
            domain.spec, domain.live, domain.modules = domain.live_spec, was.domain.live, was.domain.modules
            domain.starts += 1
            self._turn(domain, Power.RUNNING, "snapshot")

    def drop_snapshot(self, name: str, paths: Sequence[str], *, uuid: str, owner: Owner, roots: Roots) -> None:
        with self._host.call("drop_snapshot"):
            self._check(paths, roots)
            self._live_on(uuid, owner)
            for path in paths:
                self._host.kept.get(path, {}).pop(name, None)

    def _check(self, paths: Sequence[str], roots: Roots) -> None:
        if any(not is_below(path, roots.storage) for path in paths):
            raise Refused("a disk outside our folders")

    def _live_on(self, uuid: str, owner: Owner) -> frozenset[str]:
        domain = self._host.domains.get(uuid)
        if domain is None or domain.power not in ACTIVE:
            return frozenset()
        must_be_ours(domain, owner)
        return self._paths(domain)

    def _paths(self, domain: FakeDomain) -> frozenset[str]:
        return frozenset(disk.path for disk in domain.live if not disk.readonly)

    def _keep(self, name: str, paths: Sequence[str], *, domain: FakeDomain | None = None) -> None:
        """All of them at once, as the real ones are; the first has the memory."""
        volumes = {path: self._volume_at(path) for path in paths}
        for number, (path, (_pool, seen)) in enumerate(volumes.items()):
            memory = domain if number == 0 else None
            self._host.kept.setdefault(path, {})[name] = FakeKept(
                capacity=seen.capacity,
                content=self._host.contents.get(path, ""),
                memory=1 << 20 if memory else 0,
                domain=None if memory is None else replace(memory),
            )

    def _put_back(self, path: str, kept: FakeKept) -> None:
        pool, seen = self._volume_at(path)
        volumes = self._host.pools[pool].volumes
        volumes[seen.name] = (replace(seen, capacity=kept.capacity), volumes[seen.name][1])
        self._host.contents[path] = kept.content

    def _volume_at(self, path: str) -> tuple[str, SeenVolume]:
        for name, pool in self._host.pools.items():
            for seen, _checksum in pool.volumes.values():
                if seen.path == path:
                    return name, seen
        raise Refused(f"no file {path}")
