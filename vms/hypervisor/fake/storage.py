"""Pools and volumes of a ``FakeHost``."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from vms.hypervisor.driver import SeenPool, SeenVolume
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.fake.host import FakePool
from vms.hypervisor.fake.link import Link

CHUNK = 256 * 1024
KEPT_MOST = 1024 * 1024


class Storage(Link):
    """The protocol's verbs for pools and volumes."""

    def ensure_pool(self, name: str, path: str) -> SeenPool:
        with self._host.call("ensure_pool"):
            pool = self._host.pools.setdefault(name, FakePool(path))
            if pool.path != path:
                raise Refused(f"pool {name} lies at {pool.path}, not at {path}")
            return seen_pool(name, pool)

    def pool(self, name: str) -> SeenPool | None:
        with self._host.call("pool"):
            pool = self._host.pools.get(name)
            return None if pool is None else seen_pool(name, pool)

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
            volume = SeenVolume(name, place_of(there, name), found, capacity, size)
            there.volumes[name] = (volume, checksum)
            if size <= KEPT_MOST:
                self._host.sent[volume.path] = source.read_bytes()
            return volume

    def create_overlay(self, pool: str, name: str, *, base: str, capacity: int, base_pool: str = "") -> SeenVolume:
        with self._host.call("create_overlay"):
            there = self._get_pool(pool)
            below = self._get_pool(base_pool or pool).volumes
            if base not in below:
                raise Missing(f"pool {base_pool or pool} has no volume {base}")
            backing = below[base][0].path
            return ensure_volume(there, SeenVolume(name, place_of(there, name), "qcow2", capacity, 0, backing))

    def create_empty(self, pool: str, name: str, *, capacity: int, disk_format: str = "qcow2") -> SeenVolume:
        with self._host.call("create_empty"):
            if disk_format not in ("qcow2", "raw"):
                raise Refused(f"a volume is qcow2 or raw, not {disk_format!r}")
            there = self._get_pool(pool)
            return ensure_volume(there, SeenVolume(name, place_of(there, name), disk_format, capacity, 0))

    def delete_volume(self, pool: str, name: str) -> None:
        with self._host.call("delete_volume"):
            there = self._host.pools.get(pool)
            if there is not None:
                there.volumes.pop(name, None)
                self._host.kept.pop(f"{there.path}/{name}", None)
                self._host.contents.pop(f"{there.path}/{name}", None)

    def _get_pool(self, name: str) -> FakePool:
        pool = self._host.pools.get(name)
        if pool is None:
            raise Missing(f"no pool {name}")
        return pool


def place_of(pool: FakePool, name: str) -> str:
    """What a domain calls a volume of it."""
    return f"{pool.path}/{name}"


def seen_pool(name: str, pool: FakePool) -> SeenPool:
    """A pool of a tebibyte."""
    capacity = 1 << 40
    used = sum(volume.allocation for volume, _checksum in pool.volumes.values())
    return SeenPool(name, pool.path, capacity, used, capacity - used)


def ensure_volume(pool: FakePool, wanted: SeenVolume) -> SeenVolume:
    """The volume as asked, made if it is not there; ``Refused`` where another is."""
    seen, _checksum = pool.volumes.setdefault(wanted.name, (wanted, 0))
    if seen.backing_path != wanted.backing_path or seen.capacity < wanted.capacity or seen.format != wanted.format:
        raise Refused(f"volume {wanted.name} is there, but not as asked: {seen}")
    return seen


def _read(source: Path, progress: Callable[[int], None] | None) -> tuple[int, int]:
    """The file's size and checksum."""
    size = checksum = 0
    with source.open("rb") as file:
        while chunk := file.read(CHUNK):
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
