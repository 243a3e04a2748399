"""A disk is filled with what another held in a snapshot: fetched, made one file, sent. It is whole before its row says so."""

from __future__ import annotations

import shutil
from pathlib import Path

from django.utils.translation import gettext as _

from operations.runner import LeaseLost, Retry, Run
from portal.core.errors import Conflict
from portal.core.units import GIB
from vms.berths import berth
from vms.disks.convert import Limits, flatten, grow
from vms.disks.errors import DiskError
from vms.handlers.place import There, connect, host_words
from vms.handlers.restored import scratch
from vms.hypervisor.copies import Fetched
from vms.models import Snapshot, SnapshotDisk, Volume
from vms.names import snapshot_name
from vms.selectors.installation import installation_owner
from vms.services.volumes import volume_record
from vms.states import SnapshotState, VolumeState

FETCHED, PACKED, SENT = 45, 65, 90
"""How far an operation is, in percent, once a disk has come, is one file, and lies on its host."""


def await_snapshot(run: Run) -> None:
    """The snapshot that is copied from is whole; raises ``Retry`` while it is taken, ``Conflict`` where it is not there."""
    snapshot = Snapshot.objects.filter(pk=run.params["snapshot"]).first()
    if snapshot is not None and snapshot.state == SnapshotState.CREATING:
        raise Retry(_("Waiting for the snapshot"), close_lane=False)
    if snapshot is None or snapshot.state != SnapshotState.READY:
        raise Conflict(
            _("The snapshot that this was to be made of is not there."),
            code="snapshot_gone",
            hint=_("If it could not be taken, its own operation says why."),
        )


def fill_from_snapshot(run: Run, there: There, volume: Volume, disk: SnapshotDisk, *, effect: str) -> None:
    """Have the volume hold what the disk of the snapshot holds; of one whose row does not say yet that it is there."""
    words = _("Making the disk")
    with scratch(run) as folder:
        packed = one_file(run, disk, folder, words=words, upto=PACKED, size_gib=volume.size_gib)
        length = packed.stat().st_size

        def sent(done: int) -> None:
            run.tick(words, PACKED + (SENT - PACKED) * done // max(1, length))

        spot = berth(volume, there.host, there.owner)
        with run.effect(effect):
            if not Volume.objects.filter(pk=volume.pk, state=VolumeState.PLANNED).exists():
                raise LeaseLost  # a successor has made it, and it is somebody's by now
            there.hv.upload_volume(spot.pool, spot.name, packed, disk_format="qcow2", progress=sent)
            volume_record(volume, VolumeState.READY)


def one_file(
    run: Run,
    disk: SnapshotDisk,
    folder: Path,
    *,
    words: str,
    upto: int,
    size_gib: int = 0,
    limits: Limits | None = None,
    packed: bool = False,
) -> Path:
    """The disk as it was in its snapshot, as a single qcow2 file in ``folder``, ``size_gib`` large or as it was.

    ``upto`` is how far the operation is then, in percent; ``packed`` compresses. Raises ``Conflict`` (``copy_failed``).
    """

    def packing(percent: float) -> None:
        run.tick(words, FETCHED + int(percent * (upto - FETCHED) / 100))

    layers, made = fetch(run, disk, folder), folder / "disk.qcow2"
    run.say(words, FETCHED)
    try:
        flatten([(layer.file, layer.format) for layer in layers], made, limits=limits, progress=packing, packed=packed)
        if size_gib:
            grow(made, size_gib * GIB)
    except DiskError as error:
        raise Conflict(
            _("The disk could not be copied: %(reason)s"),
            code="copy_failed",
            hint=_("Nothing was changed. Ask the operator."),
            reason=error.sentence,
            detail=error.detail,
        ) from error
    for layer in layers:
        layer.file.unlink()
    return made


def fetch(run: Run, disk: SnapshotDisk, folder: Path) -> tuple[Fetched, ...]:
    """What the disk held then, as files in ``folder``; its host is another than the copy's, perhaps.

    Raises ``Conflict`` (``no_room_to_copy``) where they and the copy made of them would not fit beside each other.
    """
    words = _("Fetching the disk")
    room = shutil.disk_usage(folder).free

    def fetched(done: int, size: int) -> None:
        if size > Limits().image.max_file_size:
            raise Conflict(
                _("There is more on this disk than can be copied."),
                code="too_large_to_copy",
                hint=_("Copy what is on it from inside of the machine."),
                detail=f"{size} bytes to fetch, {Limits().image.max_file_size} at most",
            )
        if 2 * size > room:
            raise Conflict(
                _("The portal has no room to copy a disk this large right now."),
                code="no_room_to_copy",
                hint=_("Try again later; the operator can read how much it takes."),
                detail=f"{size} bytes to fetch and as many to make one file of them, {room} free",
            )
        run.tick(words, FETCHED * done // max(1, size))

    volume = Volume.objects.select_related("storage_class", "image", "pool__host").get(pk=disk.volume_id)
    assert volume.pool is not None
    host, owner = volume.pool.host, installation_owner()
    run.say(words, 5)
    with host_words(host), run.effect("fetch"):
        spot = berth(volume, host, owner)
        return connect(host).fetch_snapshot(
            spot.pool, spot.name, snapshot_name(disk.snapshot_id), scratch=folder, progress=fetched
        )
