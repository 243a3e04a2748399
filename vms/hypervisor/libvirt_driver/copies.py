"""Snapshots are read out of their disks' files while QEMU writes on: what a snapshot holds never changes in its place.

QEMU writes a snapshot's tables through to the file before the file's header names them, and no cluster that they name is used
for anything else until the snapshot goes. So its entry is read first, then the file, in any state, and then the entry again.
Source: QEMU's docs/interop/qcow2.txt; ``qcow2_snapshot_create`` and ``qcow2_write_snapshots`` in block/qcow2-snapshot.c.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vms.hypervisor import qcow2
from vms.hypervisor.copies import Fetched
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.libvirt_driver.backups import Backups, format_of
from vms.hypervisor.libvirt_driver.snapshots import Snapshots
from vms.hypervisor.libvirt_driver.translate import translated
from vms.hypervisor.xml.parse import root_of


class Copies(Backups, Snapshots):
    """The part of the driver that fetches what disks held."""

    def fetch_snapshot(
        self,
        pool: str,
        name: str,
        snapshot: str,
        *,
        scratch: Path,
        progress: Callable[[int, int], None],
    ) -> tuple[Fetched, ...]:
        """See the protocol."""
        with translated(f"fetch snapshot {snapshot} of {name}"):
            layers = list(self._layers(pool, name))
            entry = self._entry(layers[0], snapshot)
            size = sum(int(root_of(volume.XMLDesc(0)).findtext("physical", "0")) for volume in layers)
            progress(0, size)
            files, done = [], 0
            for number, volume in enumerate(layers):
                file = scratch / f"{number}.layer"
                done = self._fetch(volume, file, done, lambda done: progress(done, size))
                format_ = format_of(volume)
                if format_ == "qcow2":
                    _show(file, entry if number == 0 else None)
                files.append(Fetched(file, format_))
            again = self._find_volume(self._get_pool(pool), name)
            if again is None or self._entry(again, snapshot) != entry:
                raise Missing(f"snapshot {snapshot} of {name} went while it was read")
            return tuple(files)

    def _entry(self, raw: Any, snapshot: str) -> qcow2.Entry:
        found = next((entry for entry in self._table(raw) if entry.name == snapshot), None)
        if found is None:
            raise Missing(f"{raw.name()} holds no snapshot {snapshot}")
        return found


def _show(file: Path, entry: qcow2.Entry | None) -> None:
    """Have a fetched file name no other one, and show ``entry`` if one is given."""
    with file.open("r+b") as opened:
        try:
            head = qcow2.alone(opened.read(qcow2.HEAD_MOST + 8), entry)
        except qcow2.BadTable as error:
            raise Refused(f"{file.name}: {error}") from error
        opened.seek(0)
        opened.write(head)
