"""A disk becomes a file to take away: fetched out of a snapshot as copies are, made one compressed file, moved into place."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import LeaseLost, Run
from operations.services.submit import LONG_S
from vms.disks.convert import Limits
from vms.disks.durable import flush
from vms.handlers.copied import await_snapshot, one_file
from vms.handlers.restored import scratch
from vms.models import DiskExport, SnapshotDisk
from vms.services.disk_exports import disk_export_file, disk_export_path, disk_export_record
from vms.states import ExportState

PACKED: Final = 85
"""How far an operation is, in percent, once the file is made; then its checksum is taken."""
CHUNK: Final = 4 * 1024**2
CPU_S_PER_GIB: Final = 240
"""Processor time that compressing may take, threads added up; zlib takes 20 to 31 s (docs/decisions/0024)."""


@handles("volume.export")
def export(run: Run) -> None:
    """Fetch, compress, take the checksum, move into place; nothing to do where an attempt before has done it."""
    row = DiskExport.objects.filter(pk=run.operation.subject_id, state=ExportState.MAKING).first()
    if row is None or (row.sha256 and disk_export_path(row).exists()):
        return
    await_snapshot(run)
    disk = SnapshotDisk.objects.get(pk=run.params["disk"])
    with scratch(run) as folder:
        limits = Limits(cpu_s=max(Limits().cpu_s, CPU_S_PER_GIB * disk.size_gib), deadline_s=LONG_S)
        words = _("Compressing the disk")
        packed = one_file(run, disk, folder, words=words, upto=PACKED, limits=limits, packed=True)
        digest = _digest(run, packed)
        size = packed.stat().st_size
        flush(packed)
        path = disk_export_file(row, digest)
        with run.effect("place"):
            if not DiskExport.objects.filter(pk=row.pk, state=ExportState.MAKING).exists():
                raise LeaseLost  # a successor's file is given out by now, under its own checksum
            os.replace(packed, path)
            flush(path.parent)
        disk_export_record(row, size=size, sha256=digest)


def _digest(run: Run, file: Path) -> str:
    """The SHA-256 of what will be given out."""
    digest, done, size = hashlib.sha256(), 0, max(1, file.stat().st_size)
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            run.tick(_("Taking its checksum"), PACKED + (99 - PACKED) * done // size)
    return digest.hexdigest()
