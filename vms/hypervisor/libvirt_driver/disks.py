"""A domain's disks while it runs and for its next start, and the volumes below them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import libvirt

from vms.hypervisor import allowlist
from vms.hypervisor.disks import SeenDisk, SeenDisks
from vms.hypervisor.driver import Roots, SeenVolume
from vms.hypervisor.errors import Busy, Missing, Refused
from vms.hypervisor.libvirt_driver.domains import Domains
from vms.hypervisor.libvirt_driver.pools import Pools
from vms.hypervisor.libvirt_driver.storage import refresh
from vms.hypervisor.libvirt_driver.translate import is_missing, translated
from vms.hypervisor.xml.build import Element, to_xml
from vms.hypervisor.xml.devices import Disk, IoTune
from vms.hypervisor.xml.metadata import Owner
from vms.hypervisor.xml.parse import disks_of, root_of, source_of, tag_of

LIVE: Final = libvirt.VIR_DOMAIN_AFFECT_LIVE
KEPT: Final = libvirt.VIR_DOMAIN_AFFECT_CONFIG
_POLL_S = 0.1
_CHUNK = 256 * 1024
_UNPLUGGING = ("process of unplug", "being detached", "already in the process")
"""How QEMU and libvirt say that the guest has been asked already."""


class Disks(Domains, Pools):
    """The part of the driver that speaks of what hangs on a domain."""

    def disks(self, uuid: str) -> SeenDisks:
        with translated(f"look at the disks of {uuid}"):
            return _seen(self._get(uuid))

    def attach_disk(self, uuid: str, disk: Disk, *, owner: Owner, roots: Roots) -> None:
        """See the protocol."""
        try:
            element = disk.element()
            allowlist.check_disk(element, roots=roots)
        except ValueError as error:
            raise Refused(f"attach to {uuid}: {error}") from error
        with translated(f"attach {disk.target} to {uuid}"):
            raw = self._owned(uuid, owner)
            for flag, there in _definitions(raw):
                if disk.path in {each.path for each in there}:
                    continue
                if disk.target in {each.target for each in there}:
                    raise Refused(f"domain {uuid} has another file at {disk.target}")
                raw.attachDeviceFlags(to_xml(element), flag)

    def detach_disk(self, uuid: str, path: str, *, owner: Owner, timeout_s: float) -> None:
        """See the protocol."""
        with translated(f"detach a disk of {uuid}"):
            raw = self._find(uuid)
            if raw is None:
                return
            raw = self._owned(uuid, owner)
            for flag, _there in _definitions(raw):
                element = _element_of(raw, path, flag)
                if element is None:
                    continue
                ask_to_let_go(raw, to_xml(element), flag)
                if flag == LIVE:
                    _await_gone(raw, path, timeout_s=timeout_s)

    def limit_disk(self, uuid: str, path: str, tune: IoTune | None, *, owner: Owner) -> None:
        """See the protocol."""
        limits = tune or IoTune()
        wanted = {
            libvirt.VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC: limits.bytes_per_s or 0,
            libvirt.VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC: limits.iops or 0,
        }
        with translated(f"limit a disk of {uuid}"):
            raw = self._owned(uuid, owner)
            for flag, there in _definitions(raw):
                disk = next((each for each in there if each.path == path), None)
                if disk is None:
                    raise Missing(f"domain {uuid} has no disk on {path}")
                if (disk.bytes_per_s, disk.iops) != tuple(wanted.values()):
                    raw.setBlockIoTune(disk.target, wanted, flag)

    def resize_volume(self, pool: str, name: str, *, capacity: int, uuid: str = "") -> SeenVolume:
        """See the protocol."""
        with translated(f"grow volume {name}"):
            seen = self._must_see(pool, name)
            if seen.capacity >= capacity:
                return seen
            raw = self._find(uuid) if uuid else None
            live = () if raw is None or not raw.isActive() else disks_of(root_of(raw.XMLDesc(0)))
            target = next((disk.target for disk in live if disk.path == seen.path), "")
            if raw is not None and target:
                raw.blockResize(target, capacity, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
            else:
                self._find_volume(self._get_pool(pool), name).resize(capacity, 0)  # type: ignore[union-attr]
            return self._must_see(pool, name)

    def wipe_volume(self, pool: str, name: str, *, progress: Callable[[int, int], None] | None = None) -> None:
        """See the protocol. Not libvirt's own wipe: a sparse file, as every qcow2 is, it only cuts off and lengthens again."""
        with translated(f"wipe volume {name}"):
            raw_pool = self._find_pool(pool)
            raw = None if raw_pool is None else self._find_volume(raw_pool, name)
            if raw is None:
                return
            root = root_of(raw.XMLDesc(0))
            if root.get("type") == "network":
                raw.wipe(0)  # nothing can be uploaded into a cluster; its own wipe writes all of an image
                return
            size = int(root.findtext("physical", "0"))
            stream = self.raw.newStream(0)
            try:
                raw.upload(stream, 0, size, 0)
                for sent in _zeros(stream, size):
                    if progress:
                        progress(sent, size)
                stream.finish()
            except BaseException:
                with contextlib.suppress(libvirt.libvirtError):
                    stream.abort()
                raise
            refresh(raw_pool)  # libvirt does it too, but later: until then the volume has the format it had

    def _owned(self, uuid: str, owner: Owner) -> Any:
        raw = self._get(uuid)
        tag = tag_of(root_of(raw.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
        if tag is None or tag.owner != owner:
            raise Refused(f"domain {uuid} does not belong to this portal")
        return raw

    def _must_see(self, pool: str, name: str) -> SeenVolume:
        seen = self.volume(pool, name)
        if seen is None:
            raise Missing(f"pool {pool} has no volume {name}")
        return seen


def _seen(raw: Any) -> SeenDisks:
    found = dict(_definitions(raw))
    return SeenDisks(kept=found[KEPT], live=found.get(LIVE))


def _definitions(raw: Any) -> Iterator[tuple[int, tuple[SeenDisk, ...]]]:
    """The disks of the running domain, if it runs, then those of its next start; each read when it is its turn."""
    if raw.isActive():
        yield LIVE, disks_of(root_of(raw.XMLDesc(0)))
    yield KEPT, disks_of(root_of(raw.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))


def _element_of(raw: Any, path: str, flag: int) -> Element | None:
    """The ``<disk>`` on that file as libvirt itself writes it, or None."""
    xml = raw.XMLDesc(0 if flag == LIVE else libvirt.VIR_DOMAIN_XML_INACTIVE)
    for disk in root_of(xml).findall("devices/disk"):
        source = disk.find("source")
        if source is not None and source_of(source) == path:
            return disk
    return None


def ask_to_let_go(raw: Any, xml: str, flag: int) -> None:
    try:
        raw.detachDeviceFlags(xml, flag)
    except libvirt.libvirtError as error:
        asked_before = any(words in (error.get_error_message() or "") for words in _UNPLUGGING)
        gone = is_missing(error) or error.get_error_code() == libvirt.VIR_ERR_DEVICE_MISSING
        if not (asked_before or gone):
            raise


def _await_gone(raw: Any, path: str, *, timeout_s: float) -> None:
    """Look until the running domain has no disk on ``path``; a lost event could not mislead it."""
    end = time.monotonic() + timeout_s
    while raw.isActive() and _element_of(raw, path, LIVE) is not None:
        if time.monotonic() >= end:
            raise Busy(f"the guest did not let go of {path} within {timeout_s} s")
        time.sleep(_POLL_S)


def _zeros(stream: Any, size: int) -> Iterator[int]:
    """Send ``size`` zeros; gives what has been sent so far."""
    sent, zeros = 0, bytes(_CHUNK)
    while sent < size:
        sent += stream.send(zeros[: size - sent])
        yield sent
