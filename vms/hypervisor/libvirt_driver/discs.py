"""CDs in a domain's drives: a change of media, not of devices."""

from __future__ import annotations

import time
from typing import Any, Final

import libvirt

from vms.hypervisor import allowlist
from vms.hypervisor.driver import Roots
from vms.hypervisor.errors import Busy, NoSlot, Refused
from vms.hypervisor.libvirt_driver.disks import KEPT, LIVE, Disks
from vms.hypervisor.libvirt_driver.translate import translated
from vms.hypervisor.xml.build import Element, to_xml
from vms.hypervisor.xml.devices import Disk
from vms.hypervisor.xml.metadata import Owner
from vms.hypervisor.xml.parse import root_of, source_of

_FORCE: Final = libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE
_SHUT: Final = "is not open"
_TRIES: Final = 20
_POLL_S: Final = 0.1
_LOCKED: Final = ("is locked", "is not open", "tray", "timed out")
"""How QEMU and libvirt say that the guest holds the tray."""


class Discs(Disks):
    """The part of the driver that speaks of CDs."""

    def insert_disc(self, uuid: str, disc: Disk, *, owner: Owner, roots: Roots) -> None:
        """See the protocol."""
        try:
            element = disc.element()
            allowlist.check_disk(element, roots=roots)
        except ValueError as error:
            raise Refused(f"insert into {uuid}: {error}") from error
        with translated(f"insert into {disc.target} of {uuid}"):
            raw = self._owned(uuid, owner)
            for flag in _flags(raw):
                drive = _drive(raw, disc.target, flag)
                if drive is None and flag == LIVE:
                    raise NoSlot(f"domain {uuid} runs without a drive at {disc.target}")
                held = None if drive is None else _held(drive)
                if held not in ("", None, disc.path):
                    raise Refused(f"domain {uuid} has another disc in {disc.target}")
                if drive is not None and (held != disc.path or _is_open(drive)):
                    _change(raw, to_xml(element), flag)

    def eject_disc(self, uuid: str, target: str, *, owner: Owner, force: bool) -> None:
        """See the protocol."""
        with translated(f"eject {target} of {uuid}"):
            raw = self._find(uuid)
            if raw is None:
                return
            raw = self._owned(uuid, owner)
            for flag in _flags(raw):
                drive = _drive(raw, target, flag)
                if drive is None or not _held(drive):
                    continue
                bus = str(drive.find("target").get("bus"))  # type: ignore[union-attr]
                try:
                    _change(raw, to_xml(empty_drive(target, bus)), flag | (_FORCE if force else 0))
                except libvirt.libvirtError as error:
                    if flag == LIVE and any(words in (error.get_error_message() or "") for words in _LOCKED):
                        raise Busy(f"the guest keeps {target} locked: {error.get_error_message()}") from error
                    raise


def _change(raw: Any, xml: str, flags: int) -> None:
    """Change what lies in a drive. A guest whose firmware just resets the drive shuts the tray between two steps of that."""
    for attempt in range(_TRIES):
        try:
            raw.updateDeviceFlags(xml, flags)
        except libvirt.libvirtError as error:
            if _SHUT not in (error.get_error_message() or "") or attempt + 1 == _TRIES:
                raise
            time.sleep(_POLL_S)
        else:
            return


def empty_drive(target: str, bus: str) -> Element:
    """A drive with nothing in it."""
    return Disk(path="", target=target, bus=bus, device="cdrom", readonly=True, format="raw").element()  # type: ignore[arg-type]


def _flags(raw: Any) -> tuple[int, ...]:
    return (LIVE, KEPT) if raw.isActive() else (KEPT,)


def _drive(raw: Any, target: str, flag: int) -> Element | None:
    xml = raw.XMLDesc(0 if flag == LIVE else libvirt.VIR_DOMAIN_XML_INACTIVE)
    for disk in root_of(xml).findall("devices/disk[@device='cdrom']"):
        where = disk.find("target")
        if where is not None and where.get("dev") == target:
            return disk
    return None


def _held(drive: Element) -> str:
    source = drive.find("source")
    return "" if source is None else source_of(source)


def _is_open(drive: Element) -> bool:
    where = drive.find("target")
    return where is not None and where.get("tray") == "open"
