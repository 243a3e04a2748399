"""A disk is filled from a backup: read, packed, sent to its host. It is whole before its row says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.runner import Run
from operations.states import LIVE
from portal.core.errors import Broken, Conflict
from portal.core.ids import uuid_or_none
from portal.core.units import GIB
from vms.backups.disks import give_back
from vms.backups.restic import StoreFailed
from vms.berths import berth
from vms.disks.errors import DiskError
from vms.disks.soundness import is_sound
from vms.handlers.place import There
from vms.models import BackupDisk, Volume
from vms.reconcile.stores import repository_place
from vms.services.volumes import volume_record
from vms.states import VolumeState


def fill_from_backup(run: Run, there: There, volume: Volume, disk: BackupDisk, *, effect: str) -> None:
    """Have the volume hold what the disk of the backup held; of one whose row does not say yet that it is there."""
    backup = disk.backup
    words = _("Reading the backup")
    size = volume.size_gib * GIB

    def reading(done: int, todo: int) -> None:
        run.tick(words, 5 + 60 * done // max(1, todo))

    run.say(words, 5)
    with scratch(run) as folder, store_words():
        raw, packed = folder / "disk.raw", folder / "disk.qcow2"
        with raw.open("wb") as file:
            file.truncate(size)

            def write(offset: int, content: bytes) -> None:
                os.pwrite(file.fileno(), content, offset)

            repository = repository_place(backup.repository)
            give_back(repository, backup.snapshot, disk.folder, size=size, write=write, progress=reading)
        pack(raw, packed, tick=lambda: run.tick(words, 65))
        raw.unlink()
        length = packed.stat().st_size

        def sent(done: int) -> None:
            run.tick(_("Making the disk"), 65 + 25 * done // max(1, length))

        spot = berth(volume, there.host, there.owner)
        with run.effect(effect):
            volume.refresh_from_db(fields=["state"])
            if volume.state != VolumeState.PLANNED:
                return  # another worker was faster, and what it made may be in use by now
            there.hv.upload_volume(spot.pool, spot.name, packed, disk_format="qcow2", progress=sent)
            volume_record(volume, VolumeState.READY)


def pack(raw: Path, packed: Path, *, tick: Callable[[], None]) -> None:
    """Write a raw disk as qcow2 beside it; what a guest wrote there is never taken for a format."""
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "qcow2",
        str(raw),
        str(packed),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while process.poll() is None:
            tick()
            try:
                process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
    finally:
        process.kill()
        _out, said = process.communicate()
    detail = said.decode(errors="replace")[-500:] if process.returncode else _unsound(packed)
    if detail:
        raise Broken(_("The disk could not be packed."), code="pack_failed", detail=detail)


def _unsound(packed: Path) -> str:
    """Why a disk is not to be used, for operators; empty where it is whole."""
    try:
        return "" if is_sound(packed) else "qemu-img check finds it damaged"
    except DiskError as error:
        return str(error)


@contextmanager
def store_words() -> Iterator[None]:
    """Turn what the store's tool says into a refusal; its own words are for operators."""
    try:
        yield
    except StoreFailed as error:
        raise Conflict(
            _("The backup store did not do this."),
            code="store_failed",
            hint=_("Try again later; the operator can read why."),
            detail=error.detail,
        ) from error


@contextmanager
def scratch(run: Run) -> Iterator[Path]:
    """A folder of this attempt's own on the worker's machine; those that dead ones left go first."""
    home = Path(settings.DATA_DIR) / "backup-work"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    mine = run.operation.pk.hex
    for left in home.iterdir():
        owner = left.name.partition("-")[0]
        if owner == mine or not _lives(uuid_or_none(owner)):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{mine}-", dir=home))  # not the name of a former one, whose worker may thaw
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lives(operation: UUID | None) -> bool:
    return operation is not None and Operation.objects.filter(pk=operation, status__in=LIVE).exists()
