"""Backups: disks held at one moment and put into the store, read back to compare, deleted. A backup is whole or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction
from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import LeaseLost, Run
from operations.services import operation_renew
from portal.core.clock import now
from portal.core.errors import Conflict
from portal.core.units import GIB
from vms.backups import restic
from vms.backups.disks import Kept, give_back, keep
from vms.backups.restic import StoreFailed
from vms.berths import berth
from vms.handlers.place import connect, host_words
from vms.handlers.restored import scratch, store_words
from vms.hypervisor.backups import DiskReader
from vms.hypervisor.driver import Hypervisor
from vms.models import Backup, BackupDisk, BackupRepository, Guest, Host
from vms.names import Owner, backup_socket, pool_name, volume_name
from vms.reconcile.stores import repository_place
from vms.selectors.installation import installation_owner
from vms.services.backups.record import backup_basis, backup_charge, backup_record, backups_kept, repository_record
from vms.states import ON

Disks = dict[str, DiskReader]
"""Open disks by their folder in the store."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A backup that is made: its machine, on its host."""

    backup: Backup
    guest: Guest
    host: Host
    hv: Hypervisor
    owner: Owner

    @property
    def socket(self) -> str:
        """Where its disks are read."""
        return backup_socket(self.host.run_dir, self.guest.pk)


def _backup(run: Run) -> Backup | None:
    rows = Backup.objects.select_related("tenant", "repository__store", "repository__tenant", "guest__host")
    return rows.filter(pk=run.operation.subject_id).first()


@contextmanager
def at(run: Run) -> Iterator[Spot]:
    """The operation's backup on its machine's host; whatever ends it lets the disks go, unless another worker has them now."""
    backup = _backup(run)
    guest = backup.guest if backup is not None else None
    if backup is None or guest is None or guest.host is None:
        raise Conflict(_("The machine is gone."), code="gone", hint="")
    with host_words(guest.host):
        spot = Spot(backup, guest, guest.host, connect(guest.host), installation_owner())
        try:
            run.check()
            yield spot
        except LeaseLost:
            raise
        except BaseException:
            if not operation_renew(run.operation):
                raise
            spot.hv.backup_end(str(guest.pk), socket=spot.socket, owner=spot.owner)
            raise


@handles("backup.create")
def create(run: Run) -> None:
    """Hold the disks, read them into the store, let them go; from now on the host counts changes from here."""
    with at(run) as spot:
        if not spot.backup.snapshot:
            with store_words(), scratch(run) as folder:
                _save(run, spot, folder)
        with run.effect("let_go"):
            spot.hv.backup_end(str(spot.guest.pk), socket=spot.socket, owner=spot.owner)
        if spot.backup.checkpoint:
            with run.effect("forget_marks"):
                spot.hv.drop_checkpoints(str(spot.guest.pk), keep={spot.backup.checkpoint}, owner=spot.owner)


def _save(run: Run, spot: Spot, folder: Path) -> None:
    backup, repository = spot.backup, repository_place(spot.backup.repository)
    words = _("Reading the disks")

    def progress(done: int, todo: int) -> None:
        run.tick(words, 10 + 80 * done // max(1, todo))

    if backup.repository.made_at is None:
        with run.effect("repository"):
            restic.ensure(repository, tick=lambda: run.tick(words, 5))
            repository_record(backup.repository, size=0)
    with ExitStack() as opened:
        basis, disks = _open(run, spot, folder, opened)
        run.say(words, 10)

        def put(parent: str, work: Path) -> Kept:
            work.mkdir()
            return keep(
                repository, work, disks, parent=parent, host=spot.guest.pk.hex, tag=backup.pk.hex, progress=progress,
                charge=lambda size: backup_charge(backup, size),
            )  # fmt: skip

        with run.effect("save"):
            try:
                kept = put(basis.snapshot if basis is not None else "", folder / "changes")
            except StoreFailed:
                if basis is None:
                    raise
                backup.changed_only, backup.why_full = False, "store"
                kept = put("", folder / "whole")
    with run.effect("record"):
        size = restic.size(repository, tick=lambda: run.tick(words, 92))
        with transaction.atomic():
            run.check()  # from here to the commit nobody takes over: snapshot and checkpoint are of one moment
            repository_record(backup.repository, size=size)
            backup_record(
                backup,
                snapshot=kept.snapshot,
                read_bytes=kept.read,
                added_bytes=kept.added,
                checkpoint=backup.checkpoint,
                changed_only=backup.changed_only,
                since_full=basis.since_full + 1 if basis is not None and backup.changed_only else 0,
                why_full=backup.why_full,
                frozen=backup.frozen,
            )


def _open(run: Run, spot: Spot, folder: Path, opened: ExitStack) -> tuple[Backup | None, Disks]:
    """The machine's disks as they are now, and the former backup that the rest is taken from."""
    backup, uuid = spot.backup, str(spot.guest.pk)
    rows = list(BackupDisk.objects.filter(backup=backup).select_related("volume"))
    if any(row.volume is None for row in rows):
        raise Conflict(_("A disk of this machine is gone."), code="gone", hint="")
    seen = spot.hv.domain(uuid)
    if seen is None or seen.power not in ON:
        backup.checkpoint, backup.changed_only, backup.why_full, backup.frozen = "", False, "off", False
        return None, _open_files(run, spot, rows, folder, opened)
    basis = None if run.params.get("full") else backup_basis(backup)
    paths = {row.folder: berth(row.volume, spot.host, spot.owner).path for row in rows if row.volume is not None}
    backup.checkpoint = f"gh-{backup.pk.hex}"
    run.say(_("Holding the disks"), 5)
    with run.effect("hold"):
        view = spot.hv.backup_begin(
            uuid,
            list(paths.values()),
            checkpoint=backup.checkpoint,
            since=basis.checkpoint if basis is not None else "",
            socket=spot.socket,
            owner=spot.owner,
        )
    backup.frozen = view.frozen
    backup.why_full = _why_full(run, backup, basis, known=bool(view.since))
    backup.changed_only = not backup.why_full
    disks = {name: spot.hv.backup_reader(view, path) for name, path in paths.items()}
    for reader in disks.values():
        opened.callback(reader.close)
    return (basis if backup.changed_only else None), _as_large(disks, rows)


def _why_full(run: Run, backup: Backup, basis: Backup | None, *, known: bool) -> str:
    """Why all of it is read; empty where only what has changed is."""
    if run.params.get("full"):
        return "asked"
    if basis is None:
        former = backups_kept(backup.repository).filter(guest=backup.guest_id).exclude(why_full="off")
        if not former.exists():
            return "first"
        return "disks" if former.exclude(checkpoint="").exists() else "unknown"
    return "" if known else "unknown"


def _open_files(run: Run, spot: Spot, rows: list[BackupDisk], folder: Path, opened: ExitStack) -> Disks:
    """The disks of a machine that is off, fetched first."""
    words = _("Fetching the disks")
    disks: Disks = {}
    for row in rows:
        assert row.volume is not None
        work = folder / row.folder
        work.mkdir()
        run.say(words, 5)
        with run.effect("fetch"):
            reader = spot.hv.volume_reader(
                pool_name(spot.owner),
                volume_name(row.volume.pk),
                scratch=work,
                at_most=row.size_gib * GIB,
                progress=lambda done: run.tick(words, 5),
            )
        opened.callback(reader.close)
        disks[row.folder] = reader
    return _as_large(disks, rows)


def _as_large(disks: Disks, rows: list[BackupDisk]) -> Disks:
    for row in rows:
        if disks[row.folder].size > row.size_gib * GIB:
            raise Conflict(_("A disk of this machine is larger than it should be."), code="wrong_size", hint="")
    return disks


@handles("backup.verify")
def verify(run: Run) -> None:
    """Read all of it, to nowhere; its row says what came of it, and nothing where the store itself does not answer."""
    backup = _backup(run)
    if backup is None:
        return
    words, repository = _("Comparing the backup"), repository_place(backup.repository)
    run.say(words, 5)

    def progress(done: int, todo: int) -> None:
        run.tick(words, 5 + 90 * done // max(1, todo))

    with run.effect("compare"):
        sound, detail = True, ""
        try:
            for disk in backup.disks.all():
                size = disk.size_gib * GIB
                give_back(repository, backup.snapshot, disk.folder, size=size, write=_nowhere, progress=progress)
        except StoreFailed as error:
            with store_words():
                restic.snapshots(repository, tick=lambda: run.tick(words, 95))  # a store that is away damaged nothing
            sound, detail = False, error.detail
        backup_record(backup, verified_at=now(), verified=sound, version=backup.version + 1)
    if not sound:
        raise Conflict(
            _("This backup could not be read back whole."),
            code="backup_damaged",
            hint=_("Make another one, and delete this one."),
            detail=detail,
        )


def _nowhere(offset: int, content: bytes) -> None:
    """The bytes were compared on their way."""


@handles("backup.delete")
def delete(run: Run) -> None:
    """Out of the store, with whatever else nobody names any more; while nobody reads or writes there."""
    backup = _backup(run)
    if backup is not None:
        _forget(run, backup.repository)


@handles("backup.tidy")
def tidy(run: Run) -> None:
    """The same for many at once, or for what a backup that failed left behind."""
    rows = BackupRepository.objects.select_related("store", "tenant")
    repository = rows.filter(pk=run.operation.subject_id).first()
    if repository is not None:
        _forget(run, repository)


def _forget(run: Run, repository: BackupRepository) -> None:
    """Nothing stays in the store but what rows name that are ready; a folder that none needs goes as a whole.

    That one is put aside first, and its row says so: where its removal breaks off, the next backup makes a new one.
    """
    run.hold("backup_repository", repository.pk)
    words, place = _("Making room in the store"), repository_place(repository)
    run.say(words, 20)

    def tick() -> None:
        run.tick(words, 20)

    kept = list(backups_kept(repository).values_list("snapshot", flat=True))
    whole = not kept and restic.is_folder(place)
    with store_words():
        if repository.made_at is not None:
            with run.effect("forget"):
                if whole:
                    restic.put_aside(place)
                    repository_record(repository, size=0, there=False)
                else:
                    restic.keep_only(place, kept, tick=tick)
                    repository_record(repository, size=restic.size(place, tick=tick) if kept else 0)
        if whole:
            with run.effect("remove"):
                restic.remove_aside(place)
