"""Domains: define, power, look."""

from __future__ import annotations

import time
from typing import Any

import libvirt

from vms.hypervisor import allowlist
from vms.hypervisor.driver import Roots, SeenDomain
from vms.hypervisor.errors import Busy, Missing, Refused
from vms.hypervisor.libvirt_driver.link import Link, must_be_ours
from vms.hypervisor.libvirt_driver.powers import power_of
from vms.hypervisor.libvirt_driver.translate import is_missing, translated
from vms.hypervisor.xml.domain import DomainSpec
from vms.hypervisor.xml.metadata import Owner, Tag
from vms.hypervisor.xml.parse import domain_details, root_of, tag_of
from vms.states import Power

_POLL_FIRST_S, _POLL_LAST_S = 0.02, 0.2
_SCREENSHOT_MAX = 32 * 1024 * 1024
_CHUNK = 256 * 1024


class Domains(Link):
    """The part of the driver that speaks of domains."""

    # --- looking ------------------------------------------------------------------------------------------------
    def domains(self) -> tuple[SeenDomain, ...]:
        with translated("list domains"):
            saved = _uuids(self.raw.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE))
            autostart = _uuids(self.raw.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART))
            found = []
            for raw in self.raw.listAllDomains(0):
                uuid = raw.UUIDString()
                seen = self._seen_unless_gone(raw, saved=uuid in saved, autostart=uuid in autostart)
                if seen:
                    found.append(seen)
            return tuple(found)

    def domain(self, uuid: str) -> SeenDomain | None:
        with translated(f"look at domain {uuid}"):
            raw = self._find(uuid)
            if raw is None:
                return None
            try:
                saved, autostart = bool(raw.hasManagedSaveImage(0)), bool(raw.autostart())
            except libvirt.libvirtError as error:
                if is_missing(error):
                    return None
                raise
            return self._seen_unless_gone(raw, saved=saved, autostart=autostart)

    def domain_xml(self, uuid: str) -> str:
        with translated(f"read domain {uuid}"):
            return str(self._get(uuid).XMLDesc(0))

    # --- defining -----------------------------------------------------------------------------------------------
    def define(self, spec: DomainSpec, *, roots: Roots) -> None:
        """See the protocol. Refuses also a generation older than the one that stands on the host: a late worker's."""
        try:
            root = spec.element()
            allowlist.check_domain(root, roots=roots)
        except ValueError as error:
            raise Refused(f"define {spec.uuid}: {error}") from error
        with translated(f"define domain {spec.uuid}"):
            self._refuse_taken(spec)
            self.raw.defineXMLFlags(spec.xml(), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)

    def undefine(self, uuid: str, *, owner: Owner, keep_firmware: bool = False) -> None:
        flags = (
            libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        )
        if keep_firmware:
            flags |= libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM
        else:
            flags |= libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_TPM
        with translated(f"undefine domain {uuid}"):
            raw = self._find(uuid)
            if raw is None:
                return
            must_be_ours(_tag(raw), owner, f"domain {uuid}")
            if raw.isActive():
                raise Busy(f"domain {uuid} runs: a running domain is not undefined")
            raw.undefineFlags(flags)

    # --- power --------------------------------------------------------------------------------------------------
    def start(self, uuid: str) -> None:
        with translated(f"start domain {uuid}"):
            raw = self._get(uuid)
            if raw.isActive():
                return
            try:
                raw.create()
            except libvirt.libvirtError as error:
                # Somebody else was faster: that is what was asked for.
                if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID or not raw.isActive():
                    raise

    def press_power(self, uuid: str) -> None:
        with translated(f"press the power button of {uuid}"):
            raw = self._get(uuid)
            if raw.isActive():
                _unless_stopped(raw, lambda: raw.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN))

    def press_reset_acpi(self, uuid: str) -> None:
        with translated(f"ask {uuid} to reboot"):
            raw = self._get(uuid)
            if not raw.isActive():
                raise Refused(f"domain {uuid} does not run: there is nothing to reboot")
            raw.reboot(libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)

    def pull_plug(self, uuid: str) -> None:
        with translated(f"pull the plug of {uuid}"):
            raw = self._find(uuid)
            if raw is not None and raw.isActive():
                _unless_stopped(raw, raw.destroy)

    def reset(self, uuid: str) -> None:
        with translated(f"reset {uuid}"):
            self._get(uuid).reset(0)

    def pause(self, uuid: str) -> None:
        with translated(f"pause {uuid}"):
            raw = self._get(uuid)
            if raw.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
                raw.suspend()

    def resume(self, uuid: str) -> None:
        with translated(f"resume {uuid}"):
            raw = self._get(uuid)
            if raw.state()[0] not in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED):
                raw.resume()

    def save(self, uuid: str) -> None:
        with translated(f"suspend {uuid} to disk"):
            raw = self._get(uuid)
            if raw.isActive():
                raw.managedSave(0)
            elif not raw.hasManagedSaveImage(0):
                raise Refused(f"domain {uuid} does not run: there is nothing to save")

    def discard_save(self, uuid: str) -> None:
        with translated(f"discard the saved state of {uuid}"):
            raw = self._find(uuid)
            if raw is not None and raw.hasManagedSaveImage(0):
                raw.managedSaveRemove(0)

    def wait_power(self, uuid: str, wanted: frozenset[Power], *, timeout_s: float) -> Power:
        """Looks every 20 to 200 ms: a look costs the daemon 0.1 ms, and a lost event could not mislead it."""
        end = time.monotonic() + timeout_s
        pause_s = _POLL_FIRST_S
        while True:
            power = self._power(uuid)
            if power in wanted:
                return power
            left = end - time.monotonic()
            if left <= 0:
                raise Busy(f"domain {uuid} is still {power} after {timeout_s} s")
            time.sleep(min(pause_s, left))
            pause_s = min(pause_s * 1.5, _POLL_LAST_S)

    # --- inside the guest ---------------------------------------------------------------------------------------
    def screenshot(self, uuid: str) -> bytes:
        with translated(f"take the screen of {uuid}"):
            raw = self._get(uuid)
            stream = self.raw.newStream(0)
            raw.screenshot(stream, 0, 0)
            picture = bytearray()
            while chunk := stream.recv(_CHUNK):
                picture += chunk
                if len(picture) > _SCREENSHOT_MAX:
                    stream.abort()
                    raise Refused(f"the screen of {uuid} is larger than {_SCREENSHOT_MAX} bytes")
            stream.finish()
            return bytes(picture)

    # --- helpers ------------------------------------------------------------------------------------------------
    def _find(self, uuid: str) -> Any | None:
        try:
            return self.raw.lookupByUUIDString(uuid)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise

    def _get(self, uuid: str) -> Any:
        raw = self._find(uuid)
        if raw is None:
            raise Missing(f"no domain {uuid}")
        return raw

    def _power(self, uuid: str) -> Power:
        with translated(f"look at the power of {uuid}"):
            raw = self._get(uuid)
            state, reason = raw.state()
            saved = state == libvirt.VIR_DOMAIN_SHUTOFF and bool(raw.hasManagedSaveImage(0))
            return power_of(state, reason, saved=saved)[0]

    def _seen_unless_gone(self, raw: Any, *, saved: bool, autostart: bool) -> SeenDomain | None:
        """None where the domain vanished between being listed and being looked at."""
        try:
            state, reason = raw.state()
            details = domain_details(raw.XMLDesc(0))
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise
        power, word = power_of(state, reason, saved=saved)
        tag = details.tag
        return SeenDomain(
            uuid=details.uuid,
            name=details.name,
            power=power,
            reason=word,
            owner=tag.owner if tag else None,
            guest=tag.subject if tag else "",
            tenant=tag.tenant if tag else "",
            generation=tag.generation if tag else 0,
            autostart=autostart,
            vnc_socket=details.vnc_socket,
            serial_socket=details.serial_socket,
        )

    def _refuse_taken(self, spec: DomainSpec) -> None:
        standing = self._find(spec.uuid)
        if standing is not None:
            tag = _tag(standing)
            must_be_ours(tag, spec.tag.owner, f"domain {spec.uuid}")
            if tag and tag.generation > spec.tag.generation:
                raise Refused(
                    f"domain {spec.uuid} stands in generation {tag.generation}, asked was {spec.tag.generation}"
                )
        try:
            namesake = self.raw.lookupByName(spec.name)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return
            raise
        if namesake.UUIDString() != spec.uuid:
            raise Refused(f"the name {spec.name} belongs to another domain")


def _unless_stopped(raw: Any, act: Any) -> None:
    """Do ``act``; that the domain stopped in the meantime is what was wanted anyway."""
    try:
        act()
    except libvirt.libvirtError as error:
        if is_missing(error):
            return
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID or raw.isActive():
            raise


def _tag(raw: Any) -> Tag | None:
    return tag_of(root_of(raw.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))


def _uuids(domains: Any) -> frozenset[str]:
    return frozenset(domain.UUIDString() for domain in domains)
