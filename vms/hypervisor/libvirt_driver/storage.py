"""Storage pools and volumes: directories and files of ours on the host."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import libvirt

from vms.hypervisor.driver import SeenPool, SeenVolume
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.libvirt_driver.link import Link
from vms.hypervisor.libvirt_driver.translate import is_missing, translated
from vms.hypervisor.xml.build import safe_text
from vms.hypervisor.xml.devices import Layer
from vms.hypervisor.xml.parse import root_of
from vms.hypervisor.xml.pool import PoolSpec
from vms.hypervisor.xml.volume import VolumeSpec

type Progress = Callable[[int], None] | None

_CHUNK = 256 * 1024
"""Bytes a message of libvirt's stream protocol carries at most (a little less), so one send is one message."""

_REFRESH_WAIT_S = 5.0
_BASIC_FORMATS = ("qcow2", "raw")
_SAME_AS_RAW = {"iso": "raw"}
"""libvirt looks into a file and calls it what it finds there; to QEMU a CD's image is raw."""


class Storage(Link):
    """The part of the driver that speaks of pools and volumes."""

    # --- pools --------------------------------------------------------------------------------------------------
    def ensure_pool(self, name: str, path: str) -> SeenPool:
        with translated(f"ensure pool {name}"):
            raw = self._find_pool(name)
            if raw is None:
                raw = self.raw.storagePoolDefineXML(PoolSpec(name=name, path=path).xml(), 0)
            elif _pool_path(raw) != path:
                raise Refused(f"pool {name} lies at {_pool_path(raw)}, not at {path}")
            if not raw.isActive():
                raw.build(libvirt.VIR_STORAGE_POOL_BUILD_NEW)
                unless_so(raw.create, raw.isActive)
            if not raw.autostart():
                raw.setAutostart(1)
            return seen_pool(raw)

    def pool(self, name: str) -> SeenPool | None:
        with translated(f"look at pool {name}"):
            raw = self._find_pool(name)
            return None if raw is None else seen_pool(raw)

    def remove_pool(self, name: str) -> None:
        with translated(f"forget pool {name}"):
            raw = self._find_pool(name)
            if raw is None:
                return
            if raw.isActive():
                raw.destroy()
            raw.undefine()

    # --- volumes ------------------------------------------------------------------------------------------------
    def volumes(self, pool: str) -> tuple[SeenVolume, ...]:
        with translated(f"list pool {pool}"):
            raw_pool = self._get_pool(pool)
            refresh(raw_pool)
            seen = (seen_volume(raw) for raw in raw_pool.listAllVolumes(0))
            return tuple(volume for volume in seen if volume is not None)

    def volume(self, pool: str, name: str) -> SeenVolume | None:
        with translated(f"look at volume {name}"):
            raw = self._find_volume(self._get_pool(pool), name)
            return None if raw is None else seen_volume(raw)

    def create_overlay(self, pool: str, name: str, *, base: str, capacity: int, base_pool: str = "") -> SeenVolume:
        """See the protocol. A volume of that name over another base, or smaller, is ``Refused``: it may hold data."""
        with translated(f"create overlay {name}"):
            raw_pool = self._get_pool(pool)
            below = self._find_volume(self._get_pool(base_pool or pool), base)
            if below is None:
                raise Missing(f"pool {base_pool or pool} has no volume {base}")
            found = root_of(below.XMLDesc(0)).find("target/format")
            format_ = "" if found is None else found.get("type", "")
            if format_ not in _BASIC_FORMATS:
                raise Refused(f"volume {base} is {format_ or 'of no known format'}: nothing is laid over it")
            layer = Layer(path=below.path(), format=cast('Literal["qcow2", "raw"]', format_))
            spec = VolumeSpec(name=name, capacity=capacity, backing=layer)
            return self._ensure_volume(raw_pool, spec)

    def create_empty(self, pool: str, name: str, *, capacity: int, disk_format: str = "qcow2") -> SeenVolume:
        if disk_format not in _BASIC_FORMATS:
            raise Refused(f"a volume is qcow2 or raw, not {disk_format!r}")
        with translated(f"create volume {name}"):
            raw_pool = self._get_pool(pool)
            thick = root_of(raw_pool.XMLDesc(0)).get("type") == "logical"
            format_ = cast('Literal["qcow2", "raw"]', disk_format)
            return self._ensure_volume(raw_pool, VolumeSpec(name=name, capacity=capacity, format=format_, thick=thick))

    def delete_volume(self, pool: str, name: str) -> None:
        with translated(f"delete volume {name}"):
            raw_pool = self._find_pool(pool)
            raw = None if raw_pool is None else self._find_volume(raw_pool, name)
            if raw is not None:
                delete_raw(raw)

    def upload_volume(
        self, pool: str, name: str, source: Path, *, disk_format: str, progress: Progress = None
    ) -> SeenVolume:
        """See the protocol. Bytes that are there already are compared, not sent: a base that guests lie on stays."""
        with translated(f"upload volume {name}"), source.open("rb") as file:
            raw_pool = self._get_pool(pool)
            size = source.stat().st_size
            raw = self._find_volume(raw_pool, name)
            if raw is not None and self._holds(raw, file, size):
                if progress:
                    progress(size)
            else:
                if raw is not None:
                    delete_raw(raw)
                raw = self._send(raw_pool, name, file, size, progress)
                refresh(raw_pool)
            seen = seen_volume(raw_pool.storageVolLookupByName(name))
            if seen is None:
                raise Missing(f"volume {name} vanished after its upload")
            if seen.format != disk_format:
                delete_raw(raw)
                raise Refused(f"volume {name} turned out to be {seen.format}, not {disk_format}")
            return seen

    # --- helpers ------------------------------------------------------------------------------------------------
    def _find_pool(self, name: str) -> Any | None:
        try:
            return self.raw.storagePoolLookupByName(name)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise

    def _get_pool(self, name: str) -> Any:
        raw = self._find_pool(name)
        if raw is None:
            raise Missing(f"no pool {name}")
        return raw

    def _find_volume(self, raw_pool: Any, name: str) -> Any | None:
        """The volume, if its file is really there: libvirt remembers one that was removed behind its back."""
        try:
            raw = raw_pool.storageVolLookupByName(name)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise
        try:
            raw.info()
        except libvirt.libvirtError:
            refresh(raw_pool)
            return self._lookup_again(raw_pool, name)
        return raw

    def _lookup_again(self, raw_pool: Any, name: str) -> Any | None:
        try:
            return raw_pool.storageVolLookupByName(name)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise

    def _ensure_volume(self, raw_pool: Any, spec: VolumeSpec) -> SeenVolume:
        try:
            safe_text(spec.name, where="volume name")
        except ValueError as error:
            raise Refused(str(error)) from error
        raw = self._find_volume(raw_pool, spec.name)
        if raw is None:
            raw = raw_pool.createXML(spec.xml(), 0)
        seen = seen_volume(raw)
        if seen is None:
            raise Missing(f"volume {spec.name} vanished")
        wanted_base = spec.backing.path if spec.backing else ""
        if seen.backing_path != wanted_base or seen.capacity < spec.capacity or seen.format != spec.format:
            raise Refused(f"volume {spec.name} is there, but not as asked: {seen}")
        return seen

    def _holds(self, raw: Any, file: BinaryIO, size: int) -> bool:
        """Whether the volume's bytes are the file's; leaves ``file`` at its beginning."""
        physical = root_of(raw.XMLDesc(0)).findtext("physical", "")
        if physical != str(size):
            return False
        stream = self.raw.newStream(0)
        raw.download(stream, 0, size, 0)
        same = True
        try:
            while same and (chunk := stream.recv(_CHUNK)):
                same = file.read(len(chunk)) == chunk
        finally:
            file.seek(0)
            _close(stream, clean=same)
        return same

    def _send(self, raw_pool: Any, name: str, file: BinaryIO, size: int, progress: Progress) -> Any:
        """A new file that grows as bytes arrive, so that its size tells an unfinished upload from a finished one.

        One that is cut off stays: whoever thaws here late would delete what a successor has put under that name meanwhile.
        """
        raw = raw_pool.createXML(VolumeSpec(name=name, capacity=0, format="raw").xml(), 0)
        stream = self.raw.newStream(0)
        sent = 0
        try:
            raw.upload(stream, 0, size, 0)
            while chunk := file.read(_CHUNK):
                stream.send(chunk)
                sent += len(chunk)
                if progress:
                    progress(sent)
            stream.finish()
        except BaseException:
            _close(stream, clean=False)
            raise
        return raw


def seen_pool(raw: Any) -> SeenPool:
    """A pool's figures as libvirt last read them."""
    _state, capacity, allocation, available = raw.info()
    return SeenPool(
        name=raw.name(), path=_pool_path(raw), capacity=capacity, allocation=allocation, available=available
    )


def _pool_path(raw: Any) -> str:
    return str(root_of(raw.XMLDesc(0)).findtext("target/path", ""))


def seen_volume(raw: Any) -> SeenVolume | None:
    """A volume; None where it has just vanished."""
    try:
        root = root_of(raw.XMLDesc(0))
    except libvirt.libvirtError as error:
        if is_missing(error):
            return None
        raise
    format_ = root.find("target/format")
    probed = "" if format_ is None else format_.get("type", "")
    return SeenVolume(
        name=root.findtext("name", ""),
        path=root.findtext("target/path", ""),
        format=_SAME_AS_RAW.get(probed, probed),
        capacity=int(root.findtext("capacity", "0")),
        allocation=int(root.findtext("allocation", "0")),
        backing_path=root.findtext("backingStore/path", ""),
    )


def refresh(raw_pool: Any) -> None:
    """Read the directory anew. While an upload runs libvirt refuses that: wait a little, then live with what it has."""
    end = time.monotonic() + _REFRESH_WAIT_S
    while True:
        try:
            raw_pool.refresh(0)
        except libvirt.libvirtError as error:
            if "asynchronous jobs" not in (error.get_error_message() or ""):
                raise
            if time.monotonic() > end:
                return
            time.sleep(0.05)
        else:
            return


def delete_raw(raw: Any) -> None:
    """Delete a volume; that it is gone is what was wanted."""
    try:
        raw.delete(0)
    except libvirt.libvirtError as error:
        if not is_missing(error):
            raise


def _close(stream: Any, *, clean: bool) -> None:
    """End a stream whose outcome is decided already."""
    with contextlib.suppress(libvirt.libvirtError):
        if clean:
            stream.finish()
        else:
            stream.abort()


def unless_so(act: Callable[[], object], is_so: Callable[[], object]) -> None:
    """Do ``act``; where it fails and it is so all the same, somebody else was faster."""
    try:
        act()
    except libvirt.libvirtError:
        if not is_so():
            raise
