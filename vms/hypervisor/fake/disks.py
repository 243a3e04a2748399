"""A ``FakeHost``'s domains and what hangs on them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from vms.hypervisor import allowlist
from vms.hypervisor.disks import SeenDisk, SeenDisks
from vms.hypervisor.driver import Roots, SeenVolume
from vms.hypervisor.errors import Busy, Missing, Refused
from vms.hypervisor.fake.domains import Domains, must_be_ours
from vms.hypervisor.fake.host import FakeDomain
from vms.hypervisor.fake.link import ACTIVE
from vms.hypervisor.fake.pools import Pools
from vms.hypervisor.xml.devices import Disk, IoTune
from vms.hypervisor.xml.metadata import Owner

type Held = tuple[Disk, ...]


class Disks(Domains, Pools):
    """The protocol's verbs for disks."""

    def disks(self, uuid: str) -> SeenDisks:
        with self._host.call("disks"):
            domain = self._get(uuid)
            live = _all_seen(domain.live, domain.trays) if domain.power in ACTIVE else None
            return SeenDisks(kept=_all_seen(_kept(domain)), live=live)

    def attach_disk(self, uuid: str, disk: Disk, *, owner: Owner, roots: Roots) -> None:
        with self._host.call("attach_disk"):
            try:
                allowlist.check_disk(disk.element(), roots=roots)
            except ValueError as error:
                raise Refused(f"attach to {uuid}: {error}") from error
            domain = self._get(uuid)
            must_be_ours(domain, owner)
            if not any(
                disk.path == seen.path for pool in self._host.pools.values() for seen, _ in pool.volumes.values()
            ):
                raise Refused(f"no file {disk.path}")
            self._each(domain, lambda held: _with(held, disk))

    def detach_disk(self, uuid: str, path: str, *, owner: Owner, timeout_s: float) -> None:
        with self._host.call("detach_disk"):
            domain = self._host.domains.get(uuid)
            if domain is None:
                return
            must_be_ours(domain, owner)
            held = domain.power in ACTIVE and any(disk.path == path for disk in domain.live)
            if held and self._host.deaf:
                raise Busy(f"the guest did not let go of {path} within {timeout_s} s")
            self._each(domain, lambda held: tuple(disk for disk in held if disk.path != path))

    def limit_disk(self, uuid: str, path: str, tune: IoTune | None, *, owner: Owner) -> None:
        with self._host.call("limit_disk"):
            domain = self._get(uuid)
            must_be_ours(domain, owner)
            if path not in {disk.path for disk in _kept(domain)}:
                raise Missing(f"domain {uuid} has no disk on {path}")
            self._each(domain, lambda held: tuple(replace(d, iotune=tune) if d.path == path else d for d in held))

    def resize_volume(self, pool: str, name: str, *, capacity: int, uuid: str = "") -> SeenVolume:
        with self._host.call("resize_volume"):
            volumes = self._get_pool(pool).volumes
            if name not in volumes:
                raise Missing(f"pool {pool} has no volume {name}")
            seen, checksum = volumes[name]
            grown = replace(seen, capacity=max(seen.capacity, capacity))
            volumes[name] = (grown, checksum)
            return grown

    def wipe_volume(self, pool: str, name: str, *, progress: Callable[[int, int], None] | None = None) -> None:
        with self._host.call("wipe_volume"):
            there = self._host.pools.get(pool)
            if there is None or name not in there.volumes:
                return
            seen, _checksum = there.volumes[name]
            there.volumes[name] = (replace(seen, format="raw"), 0)
            self._host.wiped.append(name)
            if progress:
                progress(seen.capacity, seen.capacity)

    def _each(self, domain: FakeDomain, change: Callable[[Held], Held]) -> None:
        """Change the running definition, if it runs, and that of the next start; a refusal of the first leaves both."""
        live = change(domain.live) if domain.power in ACTIVE else domain.live
        if domain.spec is not None:
            domain.spec = replace(domain.spec, disks=change(domain.spec.disks))
        domain.live = live


def _kept(domain: FakeDomain) -> Held:
    return () if domain.spec is None else domain.spec.disks


def _with(held: Held, disk: Disk) -> Held:
    if any(each.path == disk.path for each in held):
        return held
    if any(each.target == disk.target for each in held):
        raise Refused(f"another file at {disk.target}")
    return (*held, disk)


def _all_seen(held: Held, trays: Collection[str] = ()) -> tuple[SeenDisk, ...]:
    """Those that have something in them."""
    return tuple(replace(_seen(disk), is_open=disk.target in trays) for disk in held if disk.path)


def _seen(disk: Disk) -> SeenDisk:
    tune = disk.iotune or IoTune()
    return SeenDisk(disk.path, disk.target, tune.bytes_per_s or 0, tune.iops or 0, disk.boot_order or 0)
