"""Whatever changes what costs writes it into the usage ledger: every such service is found in the code, and walked."""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from operations.models import Operation
from operations.runner import run
from tenants.journal.models import UsageInterval
from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.sources import ROOT, modules
from tests.vms.reconcile.backup_lives import Backups
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.putback_lives import PutBacks
from tests.vms.reconcile.snapshot_lives import Shots
from tests.vms.reconcile.volume_lives import Disks
from vms.hypervisor.errors import StorageFull
from vms.models import Backup
from vms.services import ending
from vms.services.guests import guest_delete, guests_mark_unknown
from vms.services.image_uploads import upload_abandon
from vms.services.images import image_delete
from vms.services.volumes.record import volume_follow
from vms.specs import VolumeSpec
from vms.states import Power

COLUMNS = {"seen_power", "vcpus", "memory_mib", "size_gib", "charged_gib", "flavor", "storage_class"}
"""What the ledger counts by, on rows of ``MODELS``."""
MODELS = ("Guest", "Volume", "Snapshot", "SnapshotDisk", "BackupRepository", "Image")
ROWS = {"guest", "volume", "volumes", "snapshot", "repository", "image"}
"""What variables that hold such rows are called where they are deleted."""
MAKES = {"create", "get_or_create", "bulk_create"}


def writers(path: str, tree: ast.Module) -> Iterator[str]:
    """Functions that write such a column, make or delete such a row, or write the ledger, as ``file:function``."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and any(_counts(node) for node in ast.walk(function)):
            yield f"{path}:{function.name}"


def _counts(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return isinstance(node.ctx, ast.Store) and node.attr in COLUMNS
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id.startswith("usage_")
    if not isinstance(node.func, ast.Attribute):
        return False
    verb, on = node.func.attr, ast.unparse(node.func.value)
    ours = on.startswith(tuple(f"{name}.objects" for name in MODELS))
    names = {keyword.arg for keyword in node.keywords}
    return (
        (verb in MAKES and ours)
        or (verb == "delete" and (ours or on in ROWS))
        or (verb == "update" and ours and bool(names & COLUMNS))
    )


V = "vms/services"
MACHINES, DISKS, IMAGES = f"{V}/guests", f"{V}/volumes", f"{V}/images.py"


SHOTS = f"{V}/snapshots"
WALKS: dict[str, list[str]] = {
    "machine": [
        f"{MACHINES}/create.py:_guest_write",
        f"{MACHINES}/observe.py:_write",
        f"{MACHINES}/observe.py:_meter",
        f"{MACHINES}/settle.py:purged",
    ],
    "machine with disks": [f"{MACHINES}/create.py:_volumes_write"],
    "silence": [],
    "resize": [
        f"{MACHINES}/resize.py:guest_resize",
        f"{MACHINES}/resize.py:resize_undo",
        f"{MACHINES}/resize.py:guest_record_disk",
        f"{MACHINES}/resize.py:guest_take_size",
        f"{MACHINES}/resize.py:_take",
    ],
    "rebuild": [f"{MACHINES}/spares.py:spare_become_root"],
    "put back": [f"{V}/putback/ask.py:_volume_write"],
    "volume": [
        f"{DISKS}/create.py:volume_create",
        f"{DISKS}/record.py:volume_meter",
        f"{DISKS}/record.py:volume_follow",
        f"{DISKS}/change.py:volume_extend",
        f"{DISKS}/settle.py:extended",
        f"{DISKS}/settle.py:volume_forget",
    ],
    "snapshot": [
        f"{SHOTS}/create.py:snapshot_create",
        f"{SHOTS}/record.py:snapshot_meter",
        f"{SHOTS}/record.py:snapshot_forget",
    ],
    "image": [
        f"{IMAGES}:image_announce",
        f"{IMAGES}:image_charge",
        f"{IMAGES}:image_settle_delete",
        f"{V}/image_arrival.py:_settle_charge",
    ],
    "upload given up": [f"{V}/image_uploads.py:upload_abandon"],
    "backup": [f"{V}/backups/stores.py:repository_of", f"{V}/backups/record.py:repository_settle"],
    "end": [f"{V}/ending.py:backups"],
}
"""For each deed the writers that it walks; a writer that none walks fails the suite, and so does a deed that misses one."""


class Deeds:
    """Each on a bench of its own; ``check`` compares ledger and rows on the way, and whoever calls does at the end."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench, self.folder = bench, folder
        self.disks, self.shots = Disks(bench), Shots(bench)
        self.house = bench.house

    def done(self, operation: Operation, status: str = "succeeded") -> None:
        assert run(operation.pk) == status
        self.check()

    def check(self) -> None:
        assert [line for line in self.bench.findings() if line.startswith("I5")] == []

    def machine(self) -> None:
        """Made, stopped, started, paused, resumed, thrown away, fetched back, gone."""
        guest = self.bench.guest()
        for action in ("stop", "start", "pause", "resume", "delete", "restore", "start", "purge"):
            self.done(self.bench.ask(guest, action))

    def machine_with_disks(self) -> None:
        """Made with a second disk, which stays when it goes."""
        guest = factories.guest(self.house, volumes=(VolumeSpec("data", size_gib=2),))
        self.check()
        with tenant_scope(self.house.tenant):
            factories.operation_done(guest_delete(guest, actor=self.house.actor, purge=True))

    def silence(self) -> None:
        """Its host is not heard, and then says that it is off."""
        guest = self.bench.guest()
        guests_mark_unknown(self.bench.host)
        self.check()
        factories.guest_seen(self.bench.fresh(guest), Power.STOPPED)

    def resize(self) -> None:
        """Another size while it runs; once it fails half-way."""
        guest = self.bench.guest()
        self.bench.on_host.fail("resize_volume", StorageFull("no"))
        self.done(self.bench.ask(guest, "resize"), "failed")
        self.done(self.bench.ask(guest, "resize"))

    def rebuild(self) -> None:
        self.done(self.bench.ask(self.bench.guest(), "rebuild"))

    def put_back(self) -> None:
        """A machine back to a backup: what it had stays as volumes of their own."""
        back = PutBacks(Backups(self.bench, self.folder))
        _guest, backup = back.machine()
        back.done(backup)

    def volume(self) -> None:
        """Made, grown, once not, found larger than its row says, gone."""
        volume = self.disks.volume(self.bench.guest())
        self.bench.on_host.fail("resize_volume", StorageFull("no"))
        self.done(self.disks.ask(volume, "extend", size_gib=2), "failed")
        self.done(self.disks.ask(volume, "extend", size_gib=3))
        volume_follow(self.disks.fresh(volume.pk), size_gib=4)
        self.check()
        self.done(self.disks.ask(self.disks.volume(), "delete"))

    def snapshot(self) -> None:
        snapshot = self.shots.snapshot(self.shots.machine(Power.RUNNING))
        self.check()
        self.done(self.shots.ask(snapshot, "delete"))

    def image(self) -> None:
        """A tenant's own, come and gone."""
        image = factories.own_image(self.house)
        self.check()
        with tenant_scope(self.house.tenant):
            factories.operation_done(image_delete(image, actor=self.house.actor))

    def upload_given_up(self) -> None:
        upload = factories.upload(self.house)
        with tenant_scope(self.house.tenant):
            upload_abandon(upload, actor=self.house.actor)

    def backup(self) -> None:
        backups = Backups(self.bench, self.folder)
        backup = backups.backup(self.bench.guest())
        self.check()
        self.done(backups.deed(backup, "delete"))

    def end(self) -> None:
        """A tenant ends whose repository is left."""
        backups = Backups(self.bench, self.folder)
        backups.backup(self.bench.guest())
        with tenant_scope(self.house.tenant):
            Backup.objects.all().delete()
            assert ending.backups(self.house.tenant, self.house.actor) == []
        assert not UsageInterval._base_manager.filter(meter="backup_gib", ended_at=None).exists()


@contextmanager
def called() -> Iterator[set[str]]:
    """Which functions of the services ran meanwhile, as ``file:function``."""
    found: set[str] = set()

    def look(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and "/vms/services/" in frame.f_code.co_filename:
            found.add(f"{frame.f_code.co_filename.removeprefix(f'{ROOT}/')}:{frame.f_code.co_name}")

    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(None)


def test_every_service_that_changes_what_costs_is_walked() -> None:
    found = {writer for path, tree in modules().items() if path.startswith(f"{V}/") for writer in writers(path, tree)}

    assert sorted(found) == sorted(itertools.chain.from_iterable(WALKS.values()))


def test_a_planted_writer_is_found() -> None:
    planted = """
def grow(volume):
    volume.size_gib += 1
def fill():
    Volume.objects.filter(pk=1).update(size_gib=2)
def make():
    Snapshot.objects.create(name="x")
def drop(guest):
    guest.delete()
def rename(volume):
    volume.name = "x"
def look(volume):
    return volume.size_gib
"""
    assert [name.partition(":")[2] for name in writers("x", ast.parse(planted))] == ["grow", "fill", "make", "drop"]


@pytest.mark.parametrize("deed", WALKS)
def test_the_ledger_follows(deed: str, bench: Bench, tmp_path: Path) -> None:
    deeds = Deeds(bench, tmp_path / "store")

    with called() as ran:
        getattr(deeds, deed.replace(" ", "_"))()

    deeds.check()
    assert set(WALKS[deed]) <= ran, "it does not walk what it is said to"
