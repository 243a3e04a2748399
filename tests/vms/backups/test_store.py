"""Disks go into the store and come back byte for byte, whole or by their changes; nothing of another kind comes back."""

from __future__ import annotations

import os
import random
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from vms.backups import disks, restic
from vms.backups.disks import SEGMENT, Kept, give_back, keep
from vms.backups.restic import Place, StoreFailed
from vms.hypervisor.backups import Extent

BLOCK = 64 * 1024
PASSWORD = "correct-horse-battery"


@dataclass
class Disk:
    """A disk in memory; ``dirty`` are the blocks said to have changed, None: nobody knows."""

    content: bytearray
    dirty: set[int] | None = None
    read_at: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.content)

    def write(self, offset: int, letter: int, length: int = BLOCK) -> None:
        self.content[offset : offset + length] = bytes([letter]) * length
        if self.dirty is not None:
            self.dirty |= set(range(offset // BLOCK, (offset + length - 1) // BLOCK + 1))

    def extents(self):
        for offset in range(0, self.size, BLOCK):
            block = self.content[offset : offset + BLOCK]
            changed = self.dirty is None or offset // BLOCK in self.dirty
            yield Extent(offset, len(block), data=any(block), changed=changed)

    def read(self, offset: int, length: int) -> bytes:
        self.read_at.append(offset // SEGMENT)
        return bytes(self.content[offset : offset + length])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(str(tmp_path / "store" / "one"), PASSWORD)
    restic.ensure(made)
    return made


@pytest.fixture
def disk() -> Disk:
    """Three segments and a bit: noise, a block in zeros, zeros, and a short end."""
    made = Disk(bytearray(3 * SEGMENT + BLOCK))
    made.content[:SEGMENT] = random.Random(1).randbytes(SEGMENT)
    made.write(SEGMENT + 2 * BLOCK, 7)
    made.write(3 * SEGMENT, 9)
    return made


def put(place: Place, folder: Path, *, parent: str = "", charge: list[int] | None = None, **sources: Disk) -> Kept:
    folder.mkdir()
    return keep(
        place, folder, sources, parent=parent, host="web", tag=folder.name,
        progress=lambda done, todo: None, charge=(charge if charge is not None else []).append,
    )  # fmt: skip


def back(place: Place, snapshot: str, name: str, size: int) -> bytearray:
    found = bytearray(size)

    def write(offset: int, content: bytes) -> None:
        found[offset : offset + len(content)] = content

    give_back(place, snapshot, name, size=size, write=write, progress=lambda done, todo: None)
    return found


def test_what_is_saved_comes_back_and_only_what_changed_is_read_the_next_time(
    place: Place, disk: Disk, tmp_path: Path
) -> None:
    charged: list[int] = []
    first = put(place, tmp_path / "1", charge=charged, vda=disk, vdb=Disk(bytearray(BLOCK)))
    then = bytes(disk.content)
    assert disk.read_at == [0, 1, 3]
    assert first.added >= SEGMENT
    assert charged[-1] == 2 * SEGMENT + BLOCK

    disk.dirty, disk.read_at = set(), []
    disk.write(SEGMENT + 9 * BLOCK, 8)
    disk.write(2 * SEGMENT, 5)
    disk.write(3 * SEGMENT, 0)
    second = put(place, tmp_path / "2", parent=first.snapshot, vda=disk)

    assert disk.read_at == [1, 2]
    assert second.read == 2 * SEGMENT
    assert second.added < SEGMENT
    assert back(place, first.snapshot, "vda", disk.size) == then
    assert back(place, second.snapshot, "vda", disk.size) == disk.content
    assert back(place, first.snapshot, "vdb", BLOCK) == bytes(BLOCK)
    with pytest.raises(StoreFailed, match="does not fit"):
        back(place, first.snapshot, "vda", SEGMENT)

    restic.keep_only(place, [second.snapshot])
    assert [each[:8] for each in restic.snapshots(place)] == [second.snapshot]
    assert back(place, second.snapshot, "vda", disk.size) == disk.content
    assert 0 < restic.size(place) < 2 * SEGMENT
    restic.keep_only(place, [])
    assert restic.snapshots(place) == []


def test_a_large_disk_goes_in_parts_and_is_one_backup(
    place: Place, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "BATCH", 1)

    put(place, tmp_path / "1", vda=disk)
    before = restic.size(place)
    kept = put(place, tmp_path / "2", vda=disk)
    assert kept.added < 64 * 1024, "the same bytes take no more room"
    assert restic.size(place) < before + 64 * 1024

    restic.keep_only(place, [kept.snapshot])

    assert back(place, kept.snapshot, "vda", disk.size) == disk.content


def test_what_the_store_lost_is_not_saved_as_zeros(place: Place, disk: Disk, tmp_path: Path) -> None:
    """Without the bytes of the former backup the tool would read the empty stand-ins."""
    first = put(place, tmp_path / "1", vda=disk)
    for index in (Path(place.url) / "index").iterdir():
        index.unlink()
    for pack in (Path(place.url) / "data").glob("*/*"):
        if pack.stat().st_size > SEGMENT // 2:
            pack.unlink()
    with restic._password(place) as (words, descriptor):
        restic._start(
            place, ["rebuild-index"], words, descriptor, out=subprocess.DEVNULL, err=subprocess.DEVNULL
        ).wait()
    disk.dirty = set()

    with pytest.raises(StoreFailed):
        put(place, tmp_path / "2", parent=first.snapshot, vda=disk)


def test_a_damaged_backup_is_noticed(place: Place, disk: Disk, tmp_path: Path) -> None:
    kept = put(place, tmp_path / "1", vda=disk)
    pack = max((Path(place.url) / "data").glob("*/*"), key=lambda file: file.stat().st_size)
    pack.chmod(0o600)
    pack.write_bytes(bytes(pack.stat().st_size))

    with pytest.raises(StoreFailed):
        back(place, kept.snapshot, "vda", disk.size)


def test_another_password_opens_nothing_and_says_nothing(place: Place, disk: Disk, tmp_path: Path) -> None:
    put(place, tmp_path / "1", vda=disk)
    restic.ensure(place)

    with pytest.raises(StoreFailed) as refused:
        restic.ensure(replace(place, password="wrong"))

    assert PASSWORD not in refused.value.detail
    assert PASSWORD not in repr(place)
    files = [file.read_bytes() for file in Path(place.url).rglob("*") if file.is_file()]
    assert not any(b"\7" * 100 in content or PASSWORD.encode() in content for content in files)


def test_while_nothing_comes_of_a_pipe_there_are_signs_of_life() -> None:
    read, write = os.pipe()
    signs: list[int] = []

    def tick() -> None:
        signs.append(len(signs))
        if len(signs) == 2:
            os.write(write, b"disk")
            os.close(write)

    assert restic._Ticking(read, tick).read(8) == b"disk"
    assert len(signs) == 2
    os.close(read)
