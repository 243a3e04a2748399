"""Disks as files: flat and compressed, gone in time, bounded, and no worker's death leaves one behind. P-B, P-G4."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from operations.models import Operation
from operations.runner import run
from operations.services import operation_cancel
from portal.core.errors import Conflict, Forbidden, PortalError
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.copy_lives import Copies
from tests.vms.reconcile.lives import Killed, at_points
from tests.vms.reconcile.volume_lives import Disks
from vms.hypervisor.errors import Refused
from vms.models import DiskExport, Snapshot
from vms.services.disk_exports import (
    disk_export_content,
    disk_export_create,
    disk_export_delete,
    disk_export_fit,
    disk_export_path,
    disk_export_record,
    disk_exports_tidy,
)
from vms.services.disk_exports.keep import disk_export_file, disk_exports_dir
from vms.services.snapshots.tidy import snapshots_tidy
from vms.services.volumes import volume_delete
from vms.states import Power

DAY = timedelta(days=1)


@pytest.fixture
def copies(bench: Bench) -> Copies:
    return Copies(bench)


@pytest.fixture
def kept(copies: Copies) -> Snapshot:
    """A snapshot of a volume by itself."""
    return copies.shots.snapshot(Disks(copies.bench).volume())


def row_of(operation: Operation) -> DiskExport:
    with every_tenant(why="test"):
        return DiskExport.objects.select_related("tenant", "guest", "volume").get(pk=operation.subject_id)


def made(copies: Copies, snapshot: Snapshot) -> DiskExport:
    operation = copies.export(snapshot)
    assert run(operation.pk) == "succeeded"
    return row_of(operation)


def files() -> list[Path]:
    return list(disk_exports_dir().iterdir())


def tidy(*, after: timedelta) -> dict[str, int]:
    with every_tenant(why="test"):
        return disk_exports_tidy(at=factories.now() + after)


def test_the_file_stands_by_itself_and_names_no_other(copies: Copies, kept: Snapshot) -> None:
    export = made(copies, kept)

    told = subprocess.run(
        ["qemu-img", "info", "--output=json", disk_export_path(export)], check=True, capture_output=True, text=True
    )
    facts = json.loads(told.stdout)
    assert facts["format"] == "qcow2"
    assert facts["virtual-size"] == export.size_gib << 30
    assert not {"backing-filename", "full-backing-filename", "backing-filename-format", "snapshots"} & set(facts)
    assert facts["format-specific"]["data"]["compression-type"] == "zlib"
    assert b"/" + str(copies.bench.host.data_dir).encode() not in disk_export_path(export).read_bytes()
    assert oct(disk_export_path(export).stat().st_mode & 0o777) == "0o600"


def test_of_a_machine_that_runs_the_disk_that_is_named_is_taken_and_the_snapshot_goes(copies: Copies) -> None:
    guest = copies.shots.machine(Power.RUNNING)
    with tenant_scope(copies.bench.house.tenant):
        fit = disk_export_fit(copies.bench.fresh(guest), actor=copies.bench.house.actor, position=1)
    assert (fit.fits, [line.name for line in fit.quota]) == (True, ["snapshots", "guest_snapshots"])
    operation = copies.export(guest, position=1)
    assert run(operation.pk) == "queued", "the snapshot comes first"
    snapshot = copies.passing(operation)

    copies.bench.settle()
    assert snapshots_tidy() == 1
    copies.bench.settle()

    export = row_of(operation)
    assert export.volume is not None
    assert (export.state, export.position, export.volume.position) == ("ready", 1, 1)
    assert export.file_name == f"{guest.name}-{export.volume.name}.qcow2"
    assert copies.shots.is_gone(snapshot)
    assert copies.bench.findings() == []


def test_one_that_is_called_off_leaves_nothing(copies: Copies, kept: Snapshot) -> None:
    operation = copies.export(kept)

    def call_off(point: str) -> None:
        if point == "volume.export:fetch:after":
            with tenant_scope(copies.bench.house.tenant):
                operation_cancel(Operation.objects.get(pk=operation.pk), actor=copies.bench.house.actor)

    with at_points(call_off):
        assert run(operation.pk) == "cancelled"

    assert (row_of(operation).state, files()) == ("failed", [])
    assert copies.bench.findings() == []


@pytest.mark.django_db(transaction=True)
def test_a_file_goes_in_time_and_after_some_days_nothing_tells_of_it(copies: Copies, kept: Snapshot) -> None:
    export = made(copies, kept)
    assert tidy(after=DAY / 2) == {"expired": 0, "forgotten": 0, "strays": 0}
    assert len(files()) == 1

    assert tidy(after=DAY)["expired"] == 1

    with every_tenant(why="test"):
        export = DiskExport.objects.select_related("tenant", "guest").get(pk=export.pk)
    assert (export.state, files()) == ("expired", [])
    with tenant_scope(copies.bench.house.tenant), pytest.raises(Conflict):
        disk_export_content(export, actor=copies.bench.house.actor)
    assert tidy(after=7 * DAY) == {"expired": 0, "forgotten": 0, "strays": 0}
    assert tidy(after=9 * DAY)["forgotten"] == 1
    assert copies.bench.findings() == []


@pytest.mark.django_db(transaction=True)
def test_its_volume_may_go_and_it_stays_until_somebody_deletes_it(copies: Copies, kept: Snapshot) -> None:
    export = made(copies, kept)
    assert run(copies.shots.ask(kept, "delete").pk) == "succeeded"
    with tenant_scope(copies.bench.house.tenant):
        assert export.volume is not None
        gone = volume_delete(export.volume, actor=copies.bench.house.actor)
    assert run(gone.pk) == "succeeded"
    assert row_of(Operation(subject_id=export.pk)).volume is None

    with tenant_scope(copies.bench.house.tenant):
        disk_export_delete(row_of(Operation(subject_id=export.pk)), actor=copies.bench.house.actor)

    with every_tenant(why="test"):
        assert not DiskExport.objects.exists()
    assert files() == []


def test_one_that_is_being_made_is_not_deleted_under_the_worker(copies: Copies, kept: Snapshot) -> None:
    operation = copies.export(kept)

    with tenant_scope(copies.bench.house.tenant), pytest.raises(Conflict) as refused:
        disk_export_delete(row_of(operation), actor=copies.bench.house.actor)

    assert refused.value.code == "export_under_way"


def test_what_no_row_names_is_found_and_goes_once_it_is_old(copies: Copies, kept: Snapshot) -> None:
    export = made(copies, kept)
    young, old = (disk_exports_dir() / f"{number * 32}.qcow2" for number in ("0", "1"))
    for path in (young, old):
        path.write_bytes(b"stray")
    os.utime(old, (0, 0))

    assert copies.bench.findings() == [f"I2 file {path.name} belongs to no exported disk" for path in (young, old)]
    assert tidy(after=timedelta())["strays"] == 1

    assert set(files()) == {young, disk_export_path(export)}
    young.unlink()
    disk_export_path(export).unlink()
    assert copies.bench.findings() == [f"I2 exported disk {export.pk} has no file"]


def code_of(deed: Any) -> str:
    with pytest.raises(PortalError) as refused:
        deed()
    return refused.value.code


def test_a_row_of_an_older_database_gives_no_other_bytes_out_as_its_own(copies: Copies, kept: Snapshot) -> None:
    """A dump remembers what an attempt had recorded; what lies there is of a later one, packed by another version."""
    operation = copies.export(kept)

    def go_back(point: str) -> None:
        if point == "volume.export:place:after":
            raise Killed

    with at_points(go_back), pytest.raises(Killed):
        run(operation.pk)
    (placed,) = files()
    with tenant_scope(copies.bench.house.tenant):
        disk_export_record(row_of(operation), size=placed.stat().st_size, sha256=hashlib.sha256(b"former").hexdigest())
    Operation.objects.filter(pk=operation.pk).update(lease_until=factories.now())
    copies.bench.settle()

    export = row_of(operation)
    content = disk_export_path(export).read_bytes()
    assert (export.state, export.sha256) == ("ready", hashlib.sha256(content).hexdigest())
    assert tidy(after=timedelta()) == {"expired": 0, "forgotten": 0, "strays": 0}
    assert copies.bench.findings() == []

    with every_tenant(why="test"):
        DiskExport.objects.filter(pk=export.pk).update(sha256=hashlib.sha256(b"former").hexdigest())
    assert copies.bench.findings() == [
        f"I2 exported disk {export.pk} has no file",
        f"I2 file {placed.name} belongs to no exported disk",
    ]


@pytest.mark.django_db(transaction=True)
def test_every_attempts_file_goes_with_one_that_fails(copies: Copies, kept: Snapshot) -> None:
    operation = copies.export(kept)
    for attempt in (b"first", b"second"):
        disk_export_file(row_of(operation), hashlib.sha256(attempt).hexdigest()).write_bytes(attempt)
    assert copies.bench.findings() == [], "somebody makes it"

    with tenant_scope(copies.bench.house.tenant):
        operation_cancel(operation, actor=copies.bench.house.actor)

    assert (row_of(operation).state, files()) == ("failed", [])


def test_there_are_no_more_than_there_is_room_for(copies: Copies, kept: Snapshot, settings: Any) -> None:
    settings.EXPORT_ROOM_GIB = 4
    copies.export(kept)
    copies.export(kept)
    assert code_of(lambda: copies.export(kept)) == "too_many_exports"
    settings.CAPS = {**settings.CAPS, "disk_exports_at_once": 9}
    assert code_of(lambda: copies.export(kept)) == "no_room_to_export", "half of it is for one project"

    copies.bench.settle()

    assert made(copies, kept).state == "ready", "what is ready takes only what its file does"
    settings.CAPS = {**settings.CAPS, "disk_exports": 3}
    with tenant_scope(copies.bench.house.tenant):
        fit = disk_export_fit(copies.shots.fresh(kept.pk), actor=copies.bench.house.actor)
    assert (fit.fits, [code for code, _words in fit.reasons]) == (False, ["too_many_exports"])
    assert code_of(lambda: copies.export(kept)) == "too_many_exports"


def test_others_files_count_for_the_room_of_all(copies: Copies, kept: Snapshot, settings: Any) -> None:
    settings.EXPORT_ROOM_GIB = 2
    other = factories.tenant_with_owner()
    with tenant_scope(other.tenant):
        DiskExport.objects.create(tenant=other.tenant, name="theirs", size_gib=2, made_by="them")

    assert code_of(lambda: copies.export(kept)) == "no_room_to_export"


def test_who_may_not_copy_a_machines_disks_gets_none_of_them(copies: Copies) -> None:
    guest, house = copies.shots.machine(Power.STOPPED), copies.bench.house
    export = made(copies, copies.shots.snapshot(guest))
    narrow = replace(house.actor, tagged={Permission.GUEST_EDIT: (frozenset({"mine"}),)})
    looks = replace(house.actor, permissions=house.actor.permissions - {Permission.SNAPSHOT_MANAGE})

    with tenant_scope(house.tenant):
        machine = copies.bench.fresh(guest)
        for actor in (narrow, looks):
            for deed in (
                lambda actor=actor: disk_export_content(export, actor=actor),
                lambda actor=actor: disk_export_delete(export, actor=actor),
                lambda actor=actor: disk_export_create(machine, actor=actor),
                lambda actor=actor: disk_export_fit(machine, actor=actor),
            ):
                with pytest.raises(Forbidden):
                    deed()
        assert disk_export_content(export, actor=house.actor) == disk_export_path(export)


def test_a_snapshot_that_cannot_be_taken_fails_it(copies: Copies) -> None:
    guest = copies.shots.machine(Power.RUNNING)
    operation = copies.export(guest)
    copies.bench.on_host.fail("take_snapshot", Refused("no"))

    copies.bench.settle()

    export = row_of(operation)
    assert (export.state, files()) == ("failed", [])
    assert export.problem
    assert copies.bench.findings() == []
