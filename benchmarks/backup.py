"""A disk into the store against the bare tools: ``python -m benchmarks.backup [--mib N]``; needs restic and qemu-utils.

Bare is what anybody would type: ``qemu-img convert`` into a raw file. Ours reads the disk over NBD, encrypts, deduplicates and
stores it; then once more with a hundredth of its segments changed; then back.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vms.backups import restic
from vms.backups.disks import SEGMENT, give_back, keep
from vms.hypervisor.backups import DiskReader, Extent
from vms.hypervisor.libvirt_driver.backups import ServedReader

MIB = 1024**2


@dataclass
class Dirty:
    """A disk of which only some segments have changed, as a bitmap would say."""

    reader: DiskReader
    changed: set[int]

    @property
    def size(self) -> int:
        return self.reader.size

    def extents(self) -> Iterator[Extent]:
        for extent in self.reader.extents():
            for offset in range(extent.offset, extent.offset + extent.length, SEGMENT):
                length = min(SEGMENT, extent.offset + extent.length - offset)
                yield Extent(offset, length, data=extent.data, changed=offset // SEGMENT in self.changed)

    def read(self, offset: int, length: int) -> bytes:
        return self.reader.read(offset, length)


def took[Result](deed: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds, and what came of it."""
    began = time.perf_counter()
    result = deed()
    return time.perf_counter() - began, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=512, help="bytes of noise on a disk twice that large")
    mib = parser.parse_args().mib
    with tempfile.TemporaryDirectory(prefix="gh-bench-") as home:
        folder = Path(home)
        raw, disk = folder / "raw", folder / "disk.qcow2"
        with raw.open("wb") as file:
            for _ in range(mib):
                file.write(os.urandom(MIB))
            file.truncate(2 * mib * MIB)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk], check=True)
        raw.unlink()
        reader = ServedReader(disk, "qcow2")
        convert = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, raw]
        bare, _done = took(lambda: subprocess.run(convert, check=True))
        place = restic.Place(str(folder / "store"), "benchmark")
        restic.ensure(place)

        def put(name: str, disks: dict[str, DiskReader | Dirty], parent: str = "") -> str:
            (folder / name).mkdir()
            return keep(
                place, folder / name, disks, parent=parent, host="b", tag=name,
                progress=lambda done, todo: None, charge=lambda size: None,
            ).snapshot  # fmt: skip

        whole, first = took(lambda: put("whole", {"d": reader}))
        changed = set(random.Random(1).sample(range(mib * MIB // SEGMENT), max(1, mib * MIB // SEGMENT // 100)))
        less, _second = took(lambda: put("less", {"d": Dirty(reader, changed)}, first))
        size = reader.size
        back, _none = took(
            lambda: give_back(
                place, first, "d", size=size, write=lambda at, content: None, progress=lambda done, todo: None
            )
        )
        reader.close()
    print(f"{mib} MiB: bare {bare:.1f} s, first {whole:.1f} s, a hundredth changed {less:.1f} s, back {back:.1f} s")


if __name__ == "__main__":
    main()
