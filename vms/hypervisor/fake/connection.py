"""The driver over a ``FakeHost``: the verbs of the protocol, with the real one's promises."""

from __future__ import annotations

import contextlib
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from vms.hypervisor import allowlist
from vms.hypervisor.driver import (
    AgentFacts,
    HostFacts,
    Lease,
    OnClose,
    OnEvent,
    PowerEvent,
    ProbeResult,
    Roots,
    SeenDomain,
    SeenNetwork,
    SeenPool,
    SeenVolume,
)
from vms.hypervisor.errors import Busy, Missing, Refused, Unreachable
from vms.hypervisor.fake.host import FakeDomain, FakeHost, FakePool
from vms.hypervisor.xml.domain import DomainSpec
from vms.hypervisor.xml.metadata import Owner
from vms.hypervisor.xml.network import NetworkSpec
from vms.hypervisor.xml.nwfilter import FilterSpec
from vms.hypervisor.xml.parse import network_shape
from vms.states import Power

_ACTIVE = frozenset({Power.RUNNING, Power.PAUSED})
_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK = 256 * 1024


class FakeHypervisor:
    """One connection to a ``FakeHost``."""

    def __init__(self, there: FakeHost) -> None:
        self._host = there

    # --- the host -----------------------------------------------------------------------------------------------
    def facts(self) -> HostFacts:
        with self._host.call("facts"):
            return self._host.facts

    def probe(self, *, owner: Owner) -> ProbeResult:
        with self._host.call("probe"):
            return self._host.probe

    def alive(self, *, deadline_s: float = 2.0) -> None:
        with self._host.call("alive"):
            return

    def close(self) -> None:
        with contextlib.suppress(Unreachable), self._host.call("close"):
            return

    # --- domains ------------------------------------------------------------------------------------------------
    def domains(self) -> tuple[SeenDomain, ...]:
        with self._host.call("domains"):
            return tuple(_seen(domain) for domain in self._host.domains.values())

    def domain(self, uuid: str) -> SeenDomain | None:
        with self._host.call("domain"):
            found = self._host.domains.get(uuid)
            return None if found is None else _seen(found)

    def domain_xml(self, uuid: str) -> str:
        with self._host.call("domain_xml"):
            spec = self._get(uuid).spec
            return "<domain/>" if spec is None else replace(spec, vnc=None).xml()

    def define(self, spec: DomainSpec, *, roots: Roots) -> None:
        with self._host.call("define"):
            try:
                allowlist.check_domain(spec.element(), roots=roots)
            except ValueError as error:
                raise Refused(f"define {spec.uuid}: {error}") from error
            standing = self._host.domains.get(spec.uuid)
            if standing is not None:
                _must_be_ours(standing, spec.tag.owner)
                if standing.spec is not None and standing.spec.tag.generation > spec.tag.generation:
                    raise Refused(f"domain {spec.uuid} stands in a newer generation")
            if any(other.name == spec.name and other.uuid != spec.uuid for other in self._host.domains.values()):
                raise Refused(f"the name {spec.name} belongs to another domain")
            domain = self._host.domains.setdefault(spec.uuid, FakeDomain(spec.uuid, spec.name))
            domain.name, domain.spec = spec.name, spec
            self._host.announce(PowerEvent(spec.uuid, Power.UNKNOWN, "defined"))

    def undefine(self, uuid: str, *, owner: Owner) -> None:
        with self._host.call("undefine"):
            domain = self._host.domains.get(uuid)
            if domain is None:
                return
            _must_be_ours(domain, owner)
            if domain.power in _ACTIVE:
                raise Busy(f"domain {uuid} runs: a running domain is not undefined")
            del self._host.domains[uuid]
            self._host.announce(PowerEvent(uuid, Power.ABSENT, "undefined"))

    def start(self, uuid: str) -> None:
        with self._host.call("start"):
            domain = self._get(uuid)
            if domain.power not in _ACTIVE:
                self._must_be_whole(domain)
                restored = domain.power is Power.SUSPENDED
                self._turn(domain, Power.RUNNING, "", told="restored" if restored else "booted")

    def press_power(self, uuid: str) -> None:
        with self._host.call("press_power"):
            domain = self._get(uuid)
            if domain.power is Power.RUNNING and not self._host.deaf:
                self._turn(domain, Power.STOPPED, "shutdown")

    def press_reset_acpi(self, uuid: str) -> None:
        with self._host.call("press_reset_acpi"):
            domain = self._must_run(uuid)
            if not self._host.deaf:
                self._host.announce(PowerEvent(domain.uuid, Power.RUNNING, "reboot", rebooted=True))

    def pull_plug(self, uuid: str) -> None:
        with self._host.call("pull_plug"):
            domain = self._host.domains.get(uuid)
            if domain is not None and domain.power in _ACTIVE:
                self._turn(domain, Power.STOPPED, "destroyed")

    def reset(self, uuid: str) -> None:
        with self._host.call("reset"):
            domain = self._must_run(uuid)
            self._host.announce(PowerEvent(domain.uuid, Power.RUNNING, "reboot", rebooted=True))

    def pause(self, uuid: str) -> None:
        with self._host.call("pause"):
            domain = self._must_run(uuid)
            if domain.power is not Power.PAUSED:
                self._turn(domain, Power.PAUSED, "paused")

    def resume(self, uuid: str) -> None:
        with self._host.call("resume"):
            domain = self._must_run(uuid)
            if domain.power is not Power.RUNNING:
                self._turn(domain, Power.RUNNING, "", told="resumed")

    def save(self, uuid: str) -> None:
        with self._host.call("save"):
            domain = self._get(uuid)
            if domain.power is not Power.SUSPENDED:
                self._turn(self._must_run(uuid), Power.SUSPENDED, "saved")

    def discard_save(self, uuid: str) -> None:
        with self._host.call("discard_save"):
            domain = self._host.domains.get(uuid)
            if domain is not None and domain.power is Power.SUSPENDED:
                domain.power, domain.reason = Power.STOPPED, "saved"

    def wait_power(self, uuid: str, wanted: frozenset[Power], *, timeout_s: float) -> Power:
        end = time.monotonic() + timeout_s
        while True:
            with self._host.call("wait_power"):
                power = self._get(uuid).power
            if power in wanted:
                return power
            if time.monotonic() >= end:
                raise Busy(f"domain {uuid} is still {power} after {timeout_s} s")
            time.sleep(0.005)

    def agent_facts(self, uuid: str) -> AgentFacts:
        with self._host.call("agent_facts"):
            self._get(uuid)
            return self._host.agent.get(uuid, AgentFacts())

    def screenshot(self, uuid: str) -> bytes:
        with self._host.call("screenshot"):
            self._must_run(uuid)
            return _PNG

    # --- storage ------------------------------------------------------------------------------------------------
    def ensure_pool(self, name: str, path: str) -> SeenPool:
        with self._host.call("ensure_pool"):
            pool = self._host.pools.setdefault(name, FakePool(path))
            if pool.path != path:
                raise Refused(f"pool {name} lies at {pool.path}, not at {path}")
            return _seen_pool(name, pool)

    def pool(self, name: str) -> SeenPool | None:
        with self._host.call("pool"):
            pool = self._host.pools.get(name)
            return None if pool is None else _seen_pool(name, pool)

    def remove_pool(self, name: str) -> None:
        with self._host.call("remove_pool"):
            self._host.pools.pop(name, None)

    def volumes(self, pool: str) -> tuple[SeenVolume, ...]:
        with self._host.call("volumes"):
            return tuple(volume for volume, _checksum in self._get_pool(pool).volumes.values())

    def volume(self, pool: str, name: str) -> SeenVolume | None:
        with self._host.call("volume"):
            found = self._get_pool(pool).volumes.get(name)
            return None if found is None else found[0]

    def upload_volume(
        self,
        pool: str,
        name: str,
        source: Path,
        *,
        disk_format: str,
        progress: Callable[[int], None] | None = None,
    ) -> SeenVolume:
        with self._host.call("upload_volume"):
            there = self._get_pool(pool)
            size, checksum = _read(source, progress)
            found, capacity = _probe_format(source, size)
            if found != disk_format:
                raise Refused(f"volume {name} turned out to be {found}, not {disk_format}")
            volume = SeenVolume(name, f"{there.path}/{name}", found, capacity, size)
            there.volumes[name] = (volume, checksum)
            return volume

    def create_overlay(self, pool: str, name: str, *, base: str, capacity: int) -> SeenVolume:
        with self._host.call("create_overlay"):
            there = self._get_pool(pool)
            if base not in there.volumes:
                raise Missing(f"pool {pool} has no volume {base}")
            backing = there.volumes[base][0].path
            return _ensure_volume(there, SeenVolume(name, f"{there.path}/{name}", "qcow2", capacity, 0, backing))

    def create_empty(self, pool: str, name: str, *, capacity: int, disk_format: str = "qcow2") -> SeenVolume:
        with self._host.call("create_empty"):
            if disk_format not in ("qcow2", "raw"):
                raise Refused(f"a volume is qcow2 or raw, not {disk_format!r}")
            there = self._get_pool(pool)
            return _ensure_volume(there, SeenVolume(name, f"{there.path}/{name}", disk_format, capacity, 0))

    def delete_volume(self, pool: str, name: str) -> None:
        with self._host.call("delete_volume"):
            there = self._host.pools.get(pool)
            if there is not None:
                there.volumes.pop(name, None)

    # --- networks -----------------------------------------------------------------------------------------------
    def networks(self) -> tuple[SeenNetwork, ...]:
        with self._host.call("networks"):
            return tuple(_seen_network(name, spec) for name, spec in self._host.networks.items())

    def ensure_network(self, spec: NetworkSpec) -> SeenNetwork:
        with self._host.call("ensure_network"):
            _checked_xml(spec.xml)
            if spec.name in self._host.networks:
                standing = self._host.networks[spec.name]
                _network_must_be_ours(standing, spec.name, spec.tag.owner)
                if standing and network_shape(standing.element()) != network_shape(spec.element()):
                    self._must_be_unplugged(spec.name)
            self._host.networks[spec.name] = spec
            return _seen_network(spec.name, spec)

    def remove_network(self, name: str, *, owner: Owner) -> None:
        with self._host.call("remove_network"):
            if name in self._host.networks:
                _network_must_be_ours(self._host.networks[name], name, owner)
                del self._host.networks[name]

    def leases(self, name: str) -> tuple[Lease, ...]:
        with self._host.call("leases"):
            if name not in self._host.networks:
                raise Missing(f"no network {name}")
            return self._host.leases.get(name, ())

    def filters(self) -> tuple[str, ...]:
        with self._host.call("filters"):
            return tuple(sorted(self._host.filters))

    def ensure_filter(self, spec: FilterSpec) -> None:
        with self._host.call("ensure_filter"):
            _checked_xml(spec.xml)
            self._host.filters[spec.name] = spec

    def remove_filter(self, name: str) -> None:
        with self._host.call("remove_filter"):
            users = [domain for domain in self._host.domains.values() if _uses_filter(domain, name)]
            if name in self._host.filters and any(domain.power in _ACTIVE for domain in users):
                raise Refused(f"filter {name} is in use")
            self._host.filters.pop(name, None)

    # --- events -------------------------------------------------------------------------------------------------
    def subscribe(self, on_event: OnEvent, on_close: OnClose) -> None:
        with self._host.call("subscribe"):
            self._host.listen(on_event, on_close)

    # --- helpers ------------------------------------------------------------------------------------------------
    def _get(self, uuid: str) -> FakeDomain:
        domain = self._host.domains.get(uuid)
        if domain is None:
            raise Missing(f"no domain {uuid}")
        return domain

    def _must_run(self, uuid: str) -> FakeDomain:
        domain = self._get(uuid)
        if domain.power not in _ACTIVE:
            raise Refused(f"domain {uuid} does not run")
        return domain

    def _must_be_whole(self, domain: FakeDomain) -> None:
        """What a machine needs to start: its disks, networks and filters."""
        if domain.spec is None:
            return
        paths = {volume.path for pool in self._host.pools.values() for volume, _checksum in pool.volumes.values()}
        for disk in domain.spec.disks:
            if disk.path not in paths:
                raise Refused(f"no file {disk.path}")
        for nic in domain.spec.nics:
            if nic.network not in self._host.networks:
                raise Missing(f"no network {nic.network}")
            if nic.filter and nic.filter.name not in self._host.filters:
                raise Refused(f"no filter {nic.filter.name}")

    def _must_be_unplugged(self, network: str) -> None:
        for domain in self._host.domains.values():
            if domain.power in _ACTIVE and domain.spec and any(nic.network == network for nic in domain.spec.nics):
                raise Busy(f"network {network} must be restarted to change, and guests are plugged in")

    def _get_pool(self, name: str) -> FakePool:
        pool = self._host.pools.get(name)
        if pool is None:
            raise Missing(f"no pool {name}")
        return pool

    def _turn(self, domain: FakeDomain, power: Power, reason: str, *, told: str = "") -> None:
        domain.power, domain.reason = power, reason
        self._host.announce(PowerEvent(domain.uuid, power, told or reason))


def _seen(domain: FakeDomain) -> SeenDomain:
    spec = domain.spec
    if spec is None:
        return SeenDomain(domain.uuid, domain.name, domain.power, domain.reason)
    return SeenDomain(
        uuid=domain.uuid,
        name=domain.name,
        power=domain.power,
        reason=domain.reason,
        owner=spec.tag.owner,
        guest=spec.tag.subject,
        tenant=spec.tag.tenant,
        generation=spec.tag.generation,
        vnc_socket=spec.vnc.socket if spec.vnc else "",
        serial_socket=spec.serial.socket if spec.serial else "",
    )


def _must_be_ours(domain: FakeDomain, owner: Owner) -> None:
    if domain.spec is None or domain.spec.tag.owner != owner:
        raise Refused(f"domain {domain.uuid} does not belong to this portal")


def _network_must_be_ours(spec: NetworkSpec | None, name: str, owner: Owner) -> None:
    if spec is None or spec.tag.owner != owner:
        raise Refused(f"network {name} does not belong to this portal")


def _seen_network(name: str, spec: NetworkSpec | None) -> SeenNetwork:
    if spec is None:
        return SeenNetwork(name, "virbr0", active=True)
    return SeenNetwork(name, spec.bridge, active=True, owner=spec.tag.owner, network=spec.tag.subject)


def _seen_pool(name: str, pool: FakePool) -> SeenPool:
    capacity = 1 << 40
    used = sum(volume.allocation for volume, _checksum in pool.volumes.values())
    return SeenPool(name, pool.path, capacity, used, capacity - used)


def _ensure_volume(pool: FakePool, wanted: SeenVolume) -> SeenVolume:
    seen, _checksum = pool.volumes.setdefault(wanted.name, (wanted, 0))
    if seen.backing_path != wanted.backing_path or seen.capacity < wanted.capacity or seen.format != wanted.format:
        raise Refused(f"volume {wanted.name} is there, but not as asked: {seen}")
    return seen


def _read(source: Path, progress: Callable[[int], None] | None) -> tuple[int, int]:
    """The file's size and checksum."""
    size = checksum = 0
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            size, checksum = size + len(chunk), zlib.crc32(chunk, checksum)
            if progress:
                progress(size)
    return size, checksum


def _probe_format(source: Path, size: int) -> tuple[Literal["qcow2", "raw"], int]:
    """As libvirt sees it: a qcow2 header names the disk's size at byte 24, everything else is raw."""
    with source.open("rb") as file:
        header = file.read(32)
    if header.startswith(b"QFI\xfb") and len(header) == 32:
        return "qcow2", struct.unpack_from(">Q", header, 24)[0]
    return "raw", size


def _checked_xml(write: Callable[[], str]) -> None:
    try:
        write()
    except ValueError as error:
        raise Refused(str(error)) from error


def _uses_filter(domain: FakeDomain, name: str) -> bool:
    return domain.spec is not None and any(nic.filter and nic.filter.name == name for nic in domain.spec.nics)
