"""Disks in the store: cut into segments, each a file; a segment of zeros is none. Every backup is whole by itself.

Of a disk whose changes are known only the changed segments are read. The others lie in the folder as empty files of the size and
time that the former backup has, so that the tool takes their content over from there; its counts are compared each time, since a
segment that it read after all would have been saved as zeros.
"""

from __future__ import annotations

import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Any, Final, Protocol

from vms.backups import restic
from vms.backups.restic import Node, Place, StoreFailed, Tick

SEGMENT: Final = 4 * 1024**2
BATCH: Final = 128
"""Segments that lie in the folder at once, before the tool takes them: half a gigabyte."""
_GROUP: Final = 256
_ZEROS: Final = bytes(SEGMENT)
MANIFEST: Final = "manifest.json"


class Stretch(Protocol):
    """A stretch of a disk, in bytes; see ``vms.hypervisor.backups.Extent``."""

    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def data(self) -> bool: ...
    @property
    def changed(self) -> bool: ...


class Source(Protocol):
    """A disk to be read; see ``vms.hypervisor.backups.DiskReader``."""

    size: int

    def extents(self) -> Iterator[Stretch]: ...
    def read(self, offset: int, length: int) -> bytes: ...


class NotTakenOver(StoreFailed):
    """The tool did not take over what has not changed: the disks must be read whole."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup in the store: its snapshot, bytes read from the disks, bytes that were new to the store."""

    snapshot: str
    read: int
    added: int


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A segment that is read."""

    path: str
    source: Source
    offset: int
    length: int


def keep(
    place: Place,
    folder: Path,
    disks: Mapping[str, Source],
    *,
    parent: str,
    host: str,
    tag: str,
    progress: Callable[[int, int], None],
    charge: Callable[[int], None],
) -> Kept:
    """Put ``disks`` into the store by way of the empty ``folder``; ``parent`` is a snapshot of the same disks, or empty.

    ``progress`` is called with bytes read and to be read, all the time; ``charge`` with the bytes that would be new at most,
    before they go to the store. What either raises ends it. Raises ``StoreFailed``; what of it is in the
    store by then, nobody names.
    """
    work = _Work(place, folder, progress)
    old = restic.files(place, parent, tick=work.tick) if parent else {}
    stamp = max([int(time.time()), *(node.mtime + 1 for node in old.values())])
    fresh = list(work.choose(disks, old))
    work.todo = sum(segment.length for segment in fresh)
    sizes = {name: source.size for name, source in disks.items()}
    _write(folder / MANIFEST, json.dumps({"segment": SEGMENT, "disks": sizes}).encode(), stamp)
    written = 1
    snapshot, added = parent, 0
    for batch in batched(fresh, BATCH) if fresh else [()]:
        read = [segment for segment in batch if work.read(segment, stamp)]
        charge(added + sum(segment.length for segment in read))
        saved = restic.save(place, folder, parent=snapshot, host=host, tag=tag, tick=work.tick)
        if (saved.read, saved.taken_over) != (len(read) + written, work.taken):
            raise NotTakenOver(f"{saved} instead of {len(read) + written} read and {work.taken} taken over")
        for segment in read:
            _stand_in(folder / segment.path, Node(segment.length, stamp))
        work.taken += len(read) + written
        written = 0
        snapshot, added = saved.snapshot, added + saved.added
    return Kept(snapshot, work.todo, added)


@dataclass(slots=True)
class _Work:
    """How far a backup is, and how many files of its folder the tool has already."""

    place: Place
    folder: Path
    progress: Callable[[int, int], None]
    todo: int = 0
    done: int = 0
    taken: int = 0

    def tick(self) -> None:
        self.progress(self.done, self.todo)

    def choose(self, disks: Mapping[str, Source], old: Mapping[str, Node]) -> Iterator[_Fresh]:
        """The segments to be read; what is as it was gets a stand-in."""
        for name, source in disks.items():
            for segment, changed in _segments(name, source):
                node = old.get(segment.path)
                if changed or node is None or node.size != segment.length:
                    yield segment
                else:
                    _stand_in(self.folder / segment.path, node)
                    self.taken += 1

    def read(self, segment: _Fresh, stamp: int) -> bool:
        """Lay a segment into the folder; False where it turned out to be zeros, and is left out."""
        self.tick()
        content = segment.source.read(segment.offset, segment.length)
        self.done += segment.length
        if content == _ZEROS[: segment.length]:
            return False
        _write(self.folder / segment.path, content, stamp)
        return True


def give_back(
    place: Place,
    snapshot: str,
    disk: str,
    *,
    size: int,
    write: Callable[[int, bytes], None],
    progress: Callable[[int, int], None],
) -> None:
    """Read one disk of a backup: ``write`` is called with offset and bytes of all that is not zero.

    The tool compares each piece with its checksum, and what comes is compared with the list of what there is: raises
    ``StoreFailed`` where anything is missing, damaged, or does not fit a disk of ``size`` bytes.
    """
    wanted = {path: node.size for path, node in restic.files(place, snapshot).items() if path.startswith(f"{disk}/")}
    todo, done = sum(wanted.values()), 0
    progress(0, todo)
    if not wanted:
        return
    with restic.dump(place, snapshot, disk, tick=lambda: progress(done, todo)) as stream:
        for path, content in _unpacked(stream, disk):
            offset = _offset(path)
            if wanted.pop(path, None) != len(content) or offset + len(content) > size:
                raise StoreFailed(f"the backup holds {path}, which does not fit")
            write(offset, content)
            done += len(content)
            progress(done, todo)
    if wanted:
        raise StoreFailed(f"the backup lacks {len(wanted)} segments of {disk}")


def _unpacked(stream: Any, disk: str) -> Iterator[tuple[str, bytes]]:
    """The files of a disk as they come, by their path in the snapshot."""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would remember them all
                if member.isreg() and member.size <= SEGMENT and (content := archive.extractfile(member)) is not None:
                    yield f"{disk}/{'/'.join(member.name.split('/')[-2:])}", content.read()
    except tarfile.TarError as error:
        raise StoreFailed(f"the backup broke off: {error}") from error


def _segments(name: str, source: Source) -> Iterator[tuple[_Fresh, bool]]:
    """The segments of a disk that hold anything, and whether something in each may have changed."""
    holding: set[int] = set()
    changed: set[int] = set()
    for extent in source.extents():
        first, last = extent.offset // SEGMENT, (extent.offset + extent.length - 1) // SEGMENT
        inside = range(first, last + 1) if extent.data else ()
        holding.update(inside)
        if extent.changed:
            changed.update(inside, (first, last))  # of a stretch of zeros only the ends share a segment with data
    for index in sorted(holding):
        length = min(SEGMENT, source.size - index * SEGMENT)
        yield _Fresh(_path(name, index), source, index * SEGMENT, length), index in changed


def _path(disk: str, index: int) -> str:
    return f"{disk}/{index // _GROUP:06x}/{index % _GROUP:02x}"


def _offset(path: str) -> int:
    """Where a segment begins; raises ``StoreFailed`` for what is the name of none."""
    try:
        group, place = path.split("/")[1:]
        return (int(group, 16) * _GROUP + int(place, 16)) * SEGMENT
    except ValueError as error:
        raise StoreFailed(f"the backup holds {path!r}, which is no segment") from error


def _write(file: Path, content: bytes, stamp: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, (stamp, stamp))


def _stand_in(file: Path, node: Node) -> None:
    """A file without content that the tool holds for one it has."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as empty:
        empty.truncate(node.size)
    os.utime(file, (node.mtime, node.mtime))


__all__ = ["BATCH", "SEGMENT", "Kept", "NotTakenOver", "Source", "Tick", "give_back", "keep"]
