"""One recipe for each kind of copy: of which machine or volume, and what must be so afterwards."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operations.models import Operation
from operations.runner import run
from tenants.scoping import every_tenant, tenant_scope
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.snapshot_lives import SINCE, THEN, Shots
from tests.vms.reconcile.volume_lives import Disks
from vms.models import DiskExport, Guest, Snapshot, Volume
from vms.names import volume_name
from vms.services import copies as services
from vms.services.disk_exports import disk_export_create, disk_export_path
from vms.states import Power

_numbers = itertools.count(1)
COPIES = {"volume.copy", "guest.clone", "image.capture", "volume.export"}
"""The kinds of operations that are tried here."""


@dataclass
class Copies:
    """What is asked of copies on a bench, and what is looked at afterwards."""

    bench: Bench

    @property
    def shots(self) -> Shots:
        return Shots(self.bench)

    def volume(self, snapshot: Snapshot, **more: object) -> Operation:
        with tenant_scope(self.bench.house.tenant):
            return services.snapshot_to_volume(
                self.shots.fresh(snapshot.pk), actor=self.bench.house.actor, name=f"c{next(_numbers)}", **more
            )

    def clone(self, guest: Guest, **more: Any) -> Operation:
        spec = services.CloneSpec(name=f"twin-{next(_numbers)}", **more)
        with tenant_scope(self.bench.house.tenant):
            operation = services.guest_clone(self.bench.fresh(guest), spec, actor=self.bench.house.actor)
        self.bench.let_speak(operation.subject_id)
        return operation

    def image(self, of: Guest | Snapshot, **more: Any) -> Operation:
        with tenant_scope(self.bench.house.tenant):
            fresh = self.bench.fresh(of) if isinstance(of, Guest) else self.shots.fresh(of.pk)
            return services.image_capture(fresh, actor=self.bench.house.actor, name=f"image {next(_numbers)}", **more)

    def export(self, of: Guest | Volume | Snapshot, **more: Any) -> Operation:
        with tenant_scope(self.bench.house.tenant):
            fresh = type(of).objects.select_related("tenant").get(pk=of.pk)
            return disk_export_create(fresh, actor=self.bench.house.actor, **more)

    def passing(self, operation: Operation) -> Snapshot:
        """The snapshot that is taken for it, taken."""
        taking = Operation.objects.get(kind="snapshot.create", subject_id=operation.params["snapshot"])
        assert run(taking.pk) == "succeeded", taking
        return self.shots.fresh(operation.params["snapshot"])

    def words_on(self, volume: Volume) -> str:
        """What was sent to its place: the words that a test wrote on the disk it is a copy of."""
        content = self.bench.on_host.sent[f"{self.bench.host.data_dir}/pool/{volume_name(volume.pk)}"]
        return words_in(content, volume.size_gib << 30)


def words_in(content: bytes, size: int) -> str:
    """The first words on the disk in a qcow2 file, which must be as large."""
    with tempfile.TemporaryDirectory() as folder:
        file, raw = Path(folder) / "disk", Path(folder) / "raw"
        file.write_bytes(content)
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", file], check=True)
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", file, raw], check=True)
        assert raw.stat().st_size == size
        with raw.open("rb") as opened:
            return opened.read(64).rstrip(b"\0").decode()


@dataclass(frozen=True, slots=True)
class Copied:
    """What a recipe asked for, and what it was made of."""

    of: Guest | Volume
    snapshot: Snapshot
    operation: Operation


@dataclass(frozen=True, slots=True)
class CopyRecipe:
    """``ask`` makes what is needed and submits; ``power`` is what the machine that is copied from does all the while."""

    name: str
    kind: str
    ask: Callable[[Copies], Copied]
    power: Power | None
    plugged: bool = False


def _volume_of_guest(power: Power) -> Callable[[Copies], Copied]:
    def ask(copies: Copies) -> Copied:
        guest = copies.shots.machine(power)
        snapshot = copies.shots.snapshot(guest)
        return Copied(guest, snapshot, copies.volume(snapshot, position=1))

    return ask


def _clone_then(copies: Copies) -> Copied:
    guest = copies.shots.machine(Power.RUNNING)
    snapshot = copies.shots.snapshot(guest)
    return Copied(guest, snapshot, copies.clone(guest, snapshot=snapshot))


def _now(power: Power, make: Callable[[Copies, Guest], Operation]) -> Callable[[Copies], Copied]:
    def ask(copies: Copies) -> Copied:
        guest = copies.shots.machine(power)
        copies.shots.write(guest, THEN)
        operation = make(copies, guest)
        snapshot = copies.passing(operation)
        copies.shots.write(guest, SINCE)
        return Copied(guest, snapshot, operation)

    return ask


def _image_then(copies: Copies) -> Copied:
    guest = copies.shots.machine(Power.STOPPED)
    snapshot = copies.shots.snapshot(guest)
    return Copied(guest, snapshot, copies.image(snapshot))


def _volume_of_volume(copies: Copies) -> Copied:
    volume = Disks(copies.bench).volume()
    snapshot = copies.shots.snapshot(volume)
    guest = copies.bench.guest()
    return Copied(volume, snapshot, copies.volume(snapshot, guest=guest))


def _file_of_volume(copies: Copies) -> Copied:
    volume = Disks(copies.bench).volume()
    snapshot = copies.shots.snapshot(volume)
    return Copied(volume, snapshot, copies.export(snapshot))


COPY_RECIPES = {
    recipe.name: recipe
    for recipe in (
        CopyRecipe("a volume of a running machine", "volume.copy", _volume_of_guest(Power.RUNNING), Power.RUNNING),
        CopyRecipe("a machine of a snapshot", "guest.clone", _clone_then, Power.RUNNING),
        CopyRecipe("a machine as it is, running", "guest.clone", _now(Power.RUNNING, Copies.clone), Power.RUNNING),
        CopyRecipe("a machine as it is, off", "guest.clone", _now(Power.STOPPED, Copies.clone), Power.STOPPED),
        CopyRecipe("an image of a snapshot", "image.capture", _image_then, Power.STOPPED),
        CopyRecipe("an image of a running machine", "image.capture", _now(Power.RUNNING, Copies.image), Power.RUNNING),
        CopyRecipe("a file of a running machine", "volume.export", _now(Power.RUNNING, Copies.export), Power.RUNNING),
        CopyRecipe("a file of a volume", "volume.export", _file_of_volume, None),
        CopyRecipe("a volume of a volume, plugged in", "volume.copy", _volume_of_volume, None, plugged=True),
    )
}


def assert_file(_copies: Copies, _recipe: CopyRecipe, copied: Copied) -> None:
    """Whole, named by nothing but its row, and its checksum is that of the bytes which are given out."""
    with every_tenant(why="test"):
        export = DiskExport.objects.get(pk=copied.operation.subject_id)
    content = disk_export_path(export).read_bytes()
    assert (export.state, export.size) == ("ready", len(content))
    assert export.sha256 == hashlib.sha256(content).hexdigest()
    assert words_in(content, export.size_gib << 30) == THEN


__all__ = ["COPIES", "COPY_RECIPES", "THEN", "Copied", "Copies", "CopyRecipe", "assert_file", "every_tenant"]
