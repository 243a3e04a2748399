"""Pools of several kinds, and whole copies."""

from __future__ import annotations

import time
from typing import Any, Literal

import libvirt

from vms.hypervisor.driver import SeenPool, SeenVolume
from vms.hypervisor.errors import Busy, Missing, Refused
from vms.hypervisor.libvirt_driver.storage import Storage, delete_raw, refresh, seen_pool, seen_volume, unless_so
from vms.hypervisor.libvirt_driver.translate import translated
from vms.hypervisor.xml.build import Element
from vms.hypervisor.xml.parse import root_of
from vms.hypervisor.xml.pool import PoolSpec
from vms.hypervisor.xml.volume import VolumeSpec

_BEING_FILLED = "still being allocated"
_FILLED_WITHIN_S, _POLL_S = 900.0, 0.5


class Pools(Storage):
    """The part of the driver that speaks of pools besides our own directory."""

    def ensure_pool_as(self, spec: PoolSpec) -> SeenPool:
        """See the protocol."""
        with translated(f"ensure pool {spec.name}"):
            raw = self._find_pool(spec.name)
            if raw is None:
                raw = self.raw.storagePoolDefineXML(spec.xml(), 0)
            elif _marks(root_of(raw.XMLDesc(0))) != _marks(spec.element()):
                raise Refused(f"pool {spec.name} is there and is another one")
            if not raw.isActive():
                if spec.type in ("dir", "netfs"):
                    raw.build(libvirt.VIR_STORAGE_POOL_BUILD_NEW)
                unless_so(raw.create, raw.isActive)
            if not raw.autostart():
                raw.setAutostart(1)
            refresh(raw)
            return seen_pool(raw)

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
        """See the protocol. libvirt goes on copying when its caller is gone: that is waited for, then made anew."""
        with translated(f"copy {base} to {name}"):
            raw_pool = self._get_pool(pool)
            source = self._find_volume(self._get_pool(base_pool), base)
            if source is None:
                raise Missing(f"pool {base_pool} has no volume {base}")
            left = self._find_volume(raw_pool, name)
            if left is not None:
                _delete_built(left)
            size = int(root_of(source.XMLDesc(0)).findtext("capacity", "0"))
            thick = _type_of(raw_pool) == "logical"
            spec = VolumeSpec(
                name=name, capacity=max(size, capacity) if thick else size, format=disk_format, thick=thick
            )
            made = raw_pool.createXMLFrom(spec.xml(), source, 0)
            if not thick and capacity > size:
                made.resize(capacity, 0)
            seen = seen_volume(made)
            if seen is None:
                raise Missing(f"volume {name} vanished")
            return seen


def _delete_built(raw: Any) -> None:
    """Delete a volume, once the host has finished filling it for a caller who is gone."""
    end = time.monotonic() + _FILLED_WITHIN_S
    while True:
        try:
            delete_raw(raw)
            return
        except libvirt.libvirtError as error:
            if _BEING_FILLED not in (error.get_error_message() or ""):
                raise
            if time.monotonic() > end:
                raise Busy(f"{raw.name()} is still being filled") from error
            time.sleep(_POLL_S)


def _type_of(raw_pool: Any) -> str:
    return root_of(raw_pool.XMLDesc(0)).get("type", "")


def _marks(root: Element) -> tuple[str, ...]:
    """What makes a pool the one that it is: its type, where it comes from, where it lies."""
    source = [root.findtext("source/name", "")] if root.get("type") in ("logical", "rbd") else []
    folder = root.find("source/dir")
    hosts = sorted(host.get("name", "") for host in root.findall("source/host"))
    exported = [] if folder is None else [folder.get("path", "")]
    return (root.get("type", ""), root.findtext("target/path", ""), *source, *exported, *hosts)
