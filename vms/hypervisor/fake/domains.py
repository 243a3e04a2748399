"""Domains of a ``FakeHost``: defined, powered, looked at."""

from __future__ import annotations

import time
from dataclasses import replace

from vms.hypervisor import allowlist
from vms.hypervisor.driver import AgentFacts, PowerEvent, Roots, SeenDomain, SeenVolume
from vms.hypervisor.errors import Busy, Missing, Refused
from vms.hypervisor.fake.host import FakeDomain, filters_under
from vms.hypervisor.fake.link import ACTIVE, Link
from vms.hypervisor.xml.domain import DomainSpec
from vms.hypervisor.xml.metadata import Owner
from vms.states import Power

PNG = b"\x89PNG\r\n\x1a\n"


class Domains(Link):
    """The protocol's verbs for domains."""

    def domains(self) -> tuple[SeenDomain, ...]:
        with self._host.call("domains"):
            return tuple(_seen(domain) for domain in self._host.domains.values())

    def domain(self, uuid: str) -> SeenDomain | None:
        with self._host.call("domain"):
            found = self._host.domains.get(uuid)
            return None if found is None else _seen(found)

    def domain_xml(self, uuid: str) -> str:
        with self._host.call("domain_xml"):
            domain = self._get(uuid)
            spec = domain.live_spec if domain.power in ACTIVE else domain.spec
            return "<domain/>" if spec is None else replace(spec, vnc=None).xml()

    def define(self, spec: DomainSpec, *, roots: Roots) -> None:
        with self._host.call("define"):
            try:
                allowlist.check_domain(spec.element(), roots=roots)
            except ValueError as error:
                raise Refused(f"define {spec.uuid}: {error}") from error
            standing = self._host.domains.get(spec.uuid)
            if standing is not None:
                must_be_ours(standing, spec.tag.owner)
                if standing.spec is not None and standing.spec.tag.generation > spec.tag.generation:
                    raise Refused(f"domain {spec.uuid} stands in a newer generation")
            if any(other.name == spec.name and other.uuid != spec.uuid for other in self._host.domains.values()):
                raise Refused(f"the name {spec.name} belongs to another domain")
            domain = self._host.domains.setdefault(spec.uuid, FakeDomain(spec.uuid, spec.name))
            domain.name, domain.spec = spec.name, spec
            self._host.announce(PowerEvent(spec.uuid, Power.UNKNOWN, "defined"))

    def undefine(self, uuid: str, *, owner: Owner, keep_firmware: bool = False) -> None:
        with self._host.call("undefine"):
            domain = self._host.domains.get(uuid)
            if domain is None:
                return
            must_be_ours(domain, owner)
            if domain.power in ACTIVE:
                raise Busy(f"domain {uuid} runs: a running domain is not undefined")
            del self._host.domains[uuid]
            if not keep_firmware and domain.spec is not None:
                self._host.tpms.discard(uuid)
                self._variables(domain.spec, there=False)
            self._host.announce(PowerEvent(uuid, Power.ABSENT, "undefined"))

    def start(self, uuid: str) -> None:
        with self._host.call("start"):
            domain = self._get(uuid)
            if domain.power not in ACTIVE:
                self._must_be_whole(domain)
                restored = domain.power is Power.SUSPENDED
                if not restored:
                    domain.boot()
                domain.starts += 1
                self._power_firmware(domain)
                self._turn(domain, Power.RUNNING, "", told="restored" if restored else "booted")

    def _power_firmware(self, domain: FakeDomain) -> None:
        """At its first start a domain gets its variables and its TPM."""
        if domain.spec is not None:
            self._variables(domain.spec, there=True)
            if domain.spec.tpm is not None:
                self._host.tpms.add(domain.uuid)

    def _variables(self, spec: DomainSpec, *, there: bool) -> None:
        folder, _slash, name = spec.firmware.nvram.rpartition("/")
        for pool in self._host.pools.values():
            if name and pool.path == folder and there:
                pool.volumes.setdefault(name, (SeenVolume(name, spec.firmware.nvram, "raw", 0, 0), 0))
            elif pool.path == folder:
                pool.volumes.pop(name, None)

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
            if domain is not None and domain.power in ACTIVE:
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
            return PNG

    def _get(self, uuid: str) -> FakeDomain:
        domain = self._host.domains.get(uuid)
        if domain is None:
            raise Missing(f"no domain {uuid}")
        return domain

    def _must_run(self, uuid: str) -> FakeDomain:
        domain = self._get(uuid)
        if domain.power not in ACTIVE:
            raise Refused(f"domain {uuid} does not run")
        return domain

    def _must_be_whole(self, domain: FakeDomain) -> None:
        """What a machine needs to start: its disks, networks and filters."""
        if domain.spec is None:
            return
        paths = {volume.path for pool in self._host.pools.values() for volume, _checksum in pool.volumes.values()}
        for disk in domain.spec.disks:
            if disk.path and disk.path not in paths:
                raise Refused(f"no file {disk.path}")
        for nic in domain.spec.nics:
            if nic.network and nic.network not in self._host.networks:
                raise Missing(f"no network {nic.network}")
        for name in sorted(filters_under(self._host, domain) - set(self._host.filters)):
            raise Refused(f"no filter {name}")

    def _turn(self, domain: FakeDomain, power: Power, reason: str, *, told: str = "") -> None:
        self._host.turn(domain, power, reason)
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


def must_be_ours(domain: FakeDomain, owner: Owner) -> None:
    """Raise ``Refused`` unless the domain carries exactly this mark."""
    if domain.spec is None or domain.spec.tag.owner != owner:
        raise Refused(f"domain {domain.uuid} does not belong to this portal")
