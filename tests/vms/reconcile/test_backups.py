"""Backups on a host in memory and a store in a folder: whole or none, paid for by what they take, and never of zeros."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from operations.models import Operation
from operations.runner import Run, run
from operations.services import operation_cancel
from portal.core.errors import Conflict, Forbidden
from portal.core.units import GIB
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tests.operations.kinds import lapse
from tests.vms.reconcile.backup_lives import BACKUP_RECIPES, Backups
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import Killed, at_points
from tests.vms.reconcile.volume_lives import Disks
from vms.backups import restic
from vms.backups.disks import give_back
from vms.handlers.restored import scratch
from vms.hypervisor.errors import Refused, Unreachable
from vms.models import Backup, Guest, Volume
from vms.names import pool_name
from vms.reconcile.stores import repository_place
from vms.selectors.installation import installation_owner
from vms.services.backups.record import backup_charge
from vms.states import Power


def content_of(backup: Backup, length: int = 8) -> bytes:
    """The first bytes of the first disk, read back."""
    found = bytearray(length)

    def write(offset: int, content: bytes) -> None:
        if offset == 0:
            found[:] = content[:length]

    give_back(
        repository_place(backup.repository), backup.snapshot, "disk0", size=1 << 30, write=write,
        progress=lambda done, todo: None,
    )  # fmt: skip
    return bytes(found).rstrip(b"\0")


def test_a_machine_is_backed_up_whole_then_by_what_changed_and_each_is_whole_by_itself(backups: Backups) -> None:
    guest = backups.bench.guest()
    first = backups.backup(guest, b"one")
    assert (first.state, first.changed_only, first.why_full, first.frozen) == ("ready", False, "first", True)
    assert backups.quota() == 1

    second = backups.backup(guest, b"two")

    assert (second.changed_only, second.why_full) == (True, "")
    assert content_of(first) == b"one"
    assert content_of(second) == b"two"
    assert backups.bench.on_host.checkpoints[str(guest.pk)].keys() == {second.checkpoint}
    assert backups.is_closed(guest)
    assert backups.bench.findings() == []

    assert run(backups.deed(first, "verify").pk) == "succeeded"
    assert backups.fresh(first.pk).verified
    assert run(backups.deed(first, "delete").pk) == "succeeded"
    assert backups.is_gone(first)
    assert content_of(second) == b"two"
    left = restic.snapshots(repository_place(second.repository))
    assert [each[:8] for each in left] == [second.snapshot]
    assert run(backups.deed(second, "delete").pk) == "succeeded"
    assert backups.quota() == 0
    assert backups.bench.findings() == []


def test_without_a_mark_that_is_sure_all_is_read_and_the_row_says_why(backups: Backups) -> None:
    guest = backups.bench.guest()
    backups.backup(guest, b"one")
    backups.bench.on_host.checkpoints.clear()
    assert backups.backup(guest, b"two").why_full == "unknown"
    assert run(backups.bench.ask(guest, "stop").pk) == "succeeded"
    off = backups.backup(guest, b"three")
    assert (off.why_full, off.checkpoint, off.frozen) == ("off", "", False)
    assert content_of(off) == b"three"
    assert run(backups.bench.ask(guest, "start").pk) == "succeeded"
    assert backups.backup(guest, b"four").changed_only, "the mark outlived the rest"
    assert run(backups.bench.ask(guest, "rebuild").pk) == "succeeded"
    assert backups.backup(guest, b"five").why_full == "disks"
    assert backups.bench.findings() == []


def points_of(backups: Backups, name: str) -> list[str]:
    _guest, _backup, operation = BACKUP_RECIPES[name].ask(backups)
    with at_points(lambda _point: None) as passed:
        assert run(operation.pk) == "succeeded", Operation.objects.get(pk=operation.pk).error_detail
    return list(dict.fromkeys(passed))


@pytest.mark.parametrize("name", BACKUP_RECIPES)
def test_a_worker_killed_at_any_point_is_taken_over(
    name: str, backups: Backups, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    """The plain run tries each day another point of one of them: each call of the store's tool takes half a second."""
    today = random.Random(datetime.now(UTC).date().isoformat())
    long = request.config.getoption("--long")
    if not long and name != today.choice(list(BACKUP_RECIPES)):
        return
    points = points_of(backups, name)
    chosen = points if long else [today.choice(points)]

    for point in chosen:
        with subtests.test(point):
            guest, backup, operation = BACKUP_RECIPES[name].ask(backups)
            if name == "back up a running machine":
                backups.forget_repository()  # as with the first of all

            def die(passed: str, point: str = point) -> None:
                if passed == point:
                    raise Killed

            with at_points(die), pytest.raises(Killed):
                run(operation.pk)
            lapse(operation)
            backups.bench.settle()

            operation.refresh_from_db()
            assert (operation.status, operation.error_code) == ("succeeded", "")
            assert backups.is_gone(backup) == BACKUP_RECIPES[name].gone
            if not BACKUP_RECIPES[name].gone:
                assert backups.fresh(backup.pk).state == "ready"
            assert backups.is_closed(guest)
            assert backups.bench.findings() == []


def test_what_fails_or_is_called_off_says_so_holds_nothing_open_and_costs_nothing(backups: Backups) -> None:
    guest = backups.bench.guest()
    backups.bench.on_host.fail("backup_reader", Refused("no"))
    backup, operation = backups.ask(guest)
    assert run(operation.pk) == "failed"
    row = backups.fresh(backup.pk)
    assert (row.state, bool(row.problem)) == ("error", True)
    with pytest.raises(Conflict):
        backups.deed(row, "verify")

    other, operation = backups.ask(guest)

    def call_off(point: str) -> None:
        if point == "backup.create:hold:after":
            with tenant_scope(backups.bench.house.tenant):
                operation_cancel(operation, actor=backups.bench.house.actor)

    with at_points(call_off):
        assert run(operation.pk) == "cancelled"
    assert backups.fresh(other.pk).state == "error"
    assert backups.is_closed(guest)
    assert backups.quota() == 0
    assert backups.bench.findings() == []
    for each in (backup, other):
        assert run(backups.deed(each, "delete").pk) == "succeeded"
    assert backups.bench.findings() == []


def test_a_silent_host_delays_a_backup(backups: Backups) -> None:
    guest = backups.bench.guest()
    backups.bench.on_host.fail("backup_begin", Unreachable("answer lost"), after=True)
    backup, operation = backups.ask(guest)

    run(operation.pk)
    backups.bench.settle()

    assert backups.fresh(backup.pk).state == "ready"
    assert backups.is_closed(guest)


def test_a_damaged_backup_says_so(backups: Backups) -> None:
    guest = backups.bench.guest()
    backup = backups.backup(guest, b"one")
    for pack in (Path(repository_place(backup.repository).url) / "data").glob("*/*"):
        pack.chmod(0o600)
        pack.write_bytes(bytes(pack.stat().st_size))

    operation = backups.deed(backup, "verify")

    assert run(operation.pk) == "failed"
    row = backups.fresh(backup.pk)
    assert row.verified_at is not None
    assert not row.verified


def test_a_store_that_is_away_says_nothing_of_a_backup(backups: Backups) -> None:
    backup = backups.backup(backups.bench.guest(), b"one")
    away = backups.folder.rename(backups.folder.with_name("away"))

    operation = backups.deed(backup, "verify")

    assert run(operation.pk) == "failed"
    operation.refresh_from_db()
    assert operation.error_code == "store_failed"
    assert backups.fresh(backup.pk).verified_at is None
    away.rename(backups.folder)
    assert run(backups.deed(backup, "verify").pk) == "succeeded"
    assert backups.fresh(backup.pk).verified


def test_a_worker_that_thaws_leaves_the_disks_to_the_one_that_has_them_now(backups: Backups) -> None:
    guest = backups.bench.guest()
    _backup, operation = backups.ask(guest)

    def freeze(point: str) -> None:
        if point == "backup.create:hold:after":
            lapse(operation)
            Operation.objects.filter(pk=operation.pk).update(lease_owner="another", attempts=2)
            backups.bench.on_host.fail("backup_reader", Refused("the view is another one"))

    with at_points(freeze):
        run(operation.pk)

    assert not backups.is_closed(guest)


def test_a_worker_that_thaws_takes_nothing_of_the_folder_of_the_next(backups: Backups) -> None:
    _backup, operation = backups.ask(backups.bench.guest())
    with scratch(Run(operation)) as first:
        second = scratch(Run(operation))
        folder = second.__enter__()
        (folder / "segment").touch()
        assert not first.exists(), "what a dead one left takes no room"
    assert (folder / "segment").exists()

    second.__exit__(None, None, None)
    assert not folder.exists()


def test_a_worker_that_thaws_records_and_charges_nothing_of_a_backup_that_is_ready(backups: Backups) -> None:
    """What the host counts changes from is the other one's moment: the disks of this one's would miss what lies between."""
    guest = backups.bench.guest()
    backups.write(guest, b"one")
    backup, operation = backups.ask(guest)
    done: list[str] = []

    def freeze(point: str) -> None:
        if point == "backup.create:record:before" and not done:
            done.append(point)
            lapse(operation)
            backups.write(guest, b"two")
            backups.bench.settle()
            done.append(backups.fresh(backup.pk).snapshot)

    with at_points(freeze):
        run(operation.pk)
    with tenant_scope(backups.bench.house.tenant):
        backup_charge(backup, 5 * GIB)

    row = backups.fresh(backup.pk)
    assert (row.state, row.snapshot, content_of(row)) == ("ready", done[1], b"two")
    assert backups.quota() == 1
    assert backups.bench.findings() == []


def test_a_backup_becomes_a_machine_and_a_volume(backups: Backups) -> None:
    bench = backups.bench
    guest = bench.guest()
    backup = backups.backup(guest, b"one")

    made = backups.deed(backup, "restore_guest", name="again")
    with pytest.raises(Conflict):
        backups.deed(backup, "delete")
    assert run(made.pk) == "succeeded", Operation.objects.get(pk=made.pk).error_detail
    volume = backups.deed(backup, "restore_volume", name="old-root")
    assert run(volume.pk) == "succeeded"

    with every_tenant(why="test"):
        again = Guest.objects.get(pk=made.subject_id)
        root = Volume.objects.get(guest=again)
        assert (root.image, root.state, root.size_gib) == (None, "ready", 1)
        assert Volume.objects.get(pk=volume.subject_id).state == "ready"
    assert again.seen_power == Power.RUNNING
    assert bench.findings() == []
    assert run(bench.ask(guest, "purge").pk) == "succeeded"
    row = backups.fresh(backup.pk)
    assert (row.guest, row.guest_name) == (None, guest.name)
    assert run(backups.deed(backup, "delete").pk) == "succeeded"
    assert bench.findings() == []


@pytest.mark.parametrize("plugged", [False, True], ids=["by itself", "plugged in"])
def test_a_restored_volume_is_called_off_at_any_point_and_leaves_nothing(
    plugged: bool, backups: Backups, subtests: pytest.Subtests
) -> None:
    bench = backups.bench
    guest = bench.guest()
    backup, before = backups.backup(guest, b"one"), set(bench.on_host.pools[bench_pool()].volumes)

    def ask() -> Operation:
        more = {"guest": bench.fresh(guest)} if plugged else {}
        return backups.deed(backup, "restore_volume", name="old-root", **more)

    with at_points(lambda _point: None) as passed:
        first = ask()
        assert run(first.pk) == "succeeded"
    Disks(bench).clear() if not plugged else assert_taken_off(bench, first)
    for point in dict.fromkeys(point for point in passed if point.startswith("volume.create:")):
        with subtests.test(point):
            operation = ask()

            def call_off(here: str, point: str = point, operation: Operation = operation) -> None:
                if here == point:
                    with tenant_scope(bench.house.tenant):
                        operation_cancel(Operation.objects.get(pk=operation.pk), actor=bench.house.actor)

            with at_points(call_off):
                run(operation.pk)
            bench.settle()

            operation.refresh_from_db()
            assert operation.status in ("cancelled", "succeeded")
            if operation.status == "succeeded":
                assert_taken_off(bench, operation)
            assert set(bench.on_host.pools[bench_pool()].volumes) == before
            assert bench.findings() == []


def bench_pool() -> str:
    return pool_name(installation_owner())


def assert_taken_off(bench: Bench, operation: Operation) -> None:
    """What the operation made is detached and deleted."""
    disks = Disks(bench)
    volume = disks.fresh(operation.subject_id)
    if volume.guest is not None:
        assert run(disks.ask(volume, "detach").pk) == "succeeded"
    disks.clear()


def test_whose_role_changes_some_machines_makes_nothing_of_what_another_held(backups: Backups) -> None:
    """Its disks would be read on a machine of one's own."""
    house = backups.bench.house
    backup = backups.backup(backups.bench.guest(), b"one")
    narrow = replace(house.actor, tagged={Permission.GUEST_EDIT: (frozenset({"mine"}),)})

    for verb in ("restore_volume", "restore_guest", "verify"):
        more = {} if verb == "verify" else {"name": "copy"}
        with pytest.raises(Forbidden):
            backups.deed(backup, verb, actor=narrow, **more)
