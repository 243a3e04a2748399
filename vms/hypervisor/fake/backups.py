"""A ``FakeHost``'s disks, held and read: their bytes are what a test put into ``written``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from vms.hypervisor.backups import BackupView, DiskReader, Extent
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.fake.discs import Discs
from vms.hypervisor.fake.domains import must_be_ours
from vms.hypervisor.fake.link import ACTIVE
from vms.hypervisor.xml.metadata import Owner

BLOCK = 64 * 1024


class FakeReader:
    """A disk's bytes; what lies behind ``content`` up to ``size`` are zeros. Changed is what differs from ``before``."""

    def __init__(self, content: bytes, size: int, *, before: bytes | None = None) -> None:
        self.size = size
        longest = max(len(content), len(before or b""))
        self._content = content.ljust(longest, b"\0")
        self._before = None if before is None else before.ljust(longest, b"\0")

    def extents(self) -> Iterator[Extent]:
        """Block by block as far as there are bytes, and the rest in one."""
        end = min(self.size, -(-len(self._content) // BLOCK) * BLOCK)
        for offset in range(0, end, BLOCK):
            length = min(BLOCK, self.size - offset)
            block = self._content[offset : offset + length]
            changed = self._before is None or block != self._before[offset : offset + length]
            yield Extent(offset, length, data=any(block), changed=changed)
        if end < self.size:
            yield Extent(end, self.size - end, data=False, changed=self._before is None)

    def read(self, offset: int, length: int) -> bytes:
        return self._content[offset : offset + length].ljust(length, b"\0")

    def close(self) -> None:
        """Nothing is open."""


class Backups(Discs):
    """The protocol's verbs for reading disks."""

    def backup_begin(
        self, uuid: str, paths: Sequence[str], *, checkpoint: str, since: str, socket: str, owner: Owner
    ) -> BackupView:
        with self._host.call("backup_begin"):
            domain = self._get(uuid)
            must_be_ours(domain, owner)
            if domain.power not in ACTIVE:
                raise Refused(f"domain {uuid} does not run")
            targets = {disk.path: disk.target for disk in domain.live if disk.path in paths}
            if set(paths) - set(targets):
                raise Missing(f"domain {uuid} lacks a disk")
            marks = self._host.checkpoints.setdefault(uuid, {})
            known = since if set(paths) <= set(marks.get(since, {})) else ""
            if not known:
                marks.clear()
            marks[checkpoint] = {path: self._host.written.get(path, b"") for path in paths}
            self._host.held.add(uuid)
            return BackupView(uuid, checkpoint, known, uuid in self._host.agent, targets)

    def backup_reader(self, view: BackupView, path: str) -> DiskReader:
        with self._host.call("backup_reader"):
            if view.uuid not in self._host.held:
                raise Missing(f"the disks of {view.uuid} are not held")
            marks = self._host.checkpoints[view.uuid]
            before = marks[view.since][path] if view.since else None
            return FakeReader(marks[view.socket][path], self._size_of(path), before=before)

    def backup_end(self, uuid: str, *, socket: str, owner: Owner) -> None:
        with self._host.call("backup_end"):
            domain = self._host.domains.get(uuid)
            if domain is not None:
                must_be_ours(domain, owner)
            self._host.held.discard(uuid)

    def checkpoints(self, uuid: str) -> tuple[str, ...]:
        with self._host.call("checkpoints"):
            return tuple(self._host.checkpoints.get(uuid, ()))

    def drop_checkpoints(self, uuid: str, *, keep: Collection[str], owner: Owner) -> None:
        with self._host.call("drop_checkpoints"):
            domain = self._host.domains.get(uuid)
            if domain is None or domain.power not in ACTIVE:
                return
            must_be_ours(domain, owner)
            marks = self._host.checkpoints.get(uuid, {})
            self._host.checkpoints[uuid] = {name: seen for name, seen in marks.items() if name in keep}

    def volume_reader(
        self, pool: str, name: str, *, scratch: Path, at_most: int, progress: Callable[[int], None] | None = None
    ) -> DiskReader:
        with self._host.call("volume_reader"):
            found = self._get_pool(pool).volumes.get(name)
            if found is None:
                raise Missing(f"pool {pool} has no volume {name}")
            if found[0].capacity > at_most:
                raise Refused(f"volume {name} is a disk of {found[0].capacity} bytes")
            content = self._host.written.get(found[0].path, b"")
            if progress:
                progress(len(content))
            return FakeReader(content, found[0].capacity)

    def _size_of(self, path: str) -> int:
        for pool in self._host.pools.values():
            for seen, _checksum in pool.volumes.values():
                if seen.path == path:
                    return seen.capacity
        raise Missing(f"no file {path}")
