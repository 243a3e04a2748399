"""Turns of a backup schedule that wait, or pass without a backup: why, for how long, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction

from operations.runner import run
from tenants.models import Notice
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.quota import quota_set
from tenants.services.tenants import tenant_suspend, tenant_unsuspend
from tests import factories
from tests.vms.reconcile.backup_lives import Backups
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.schedule_lives import (
    DAY,
    DUE,
    QUIET,
    fresh,
    made,
    moment_of,
    next_of,
    planned,
    pretended,
    turns,
)
from vms.models import BackupTurn, Guest
from vms.services.backups import slots
from vms.services.backups.slots import AGAIN, PATIENCE, backup_schedules_run


def busy(bench: Bench, guest: Guest) -> None:
    bench.ask(guest, "stop")


def binned(bench: Bench, guest: Guest) -> None:
    assert run(bench.ask(guest, "delete").pk) == "succeeded"


def suspended(bench: Bench, guest: Guest) -> None:
    assert run(bench.ask(guest, "suspend").pk) == "succeeded"


def silent(bench: Bench, guest: Guest) -> None:
    type(bench.host).objects.filter(pk=bench.host.pk).update(state="down")


def out_of_quota(bench: Bench, guest: Guest) -> None:
    with tenant_scope(bench.house.tenant):
        quota_set(bench.house.tenant, {"backups_gib": 0}, actor=factories.desk())


@pytest.mark.parametrize(
    ("way", "state", "code", "told"),
    [
        (busy, "waiting", "operation_in_progress", 0),
        (binned, "passed", "in_bin", 0),
        (suspended, "passed", "wrong_state", 0),
        (silent, "passed", "host_silent", 0),
        (out_of_quota, "passed", "over_quota", 1),
    ],
)
def test_a_machine_of_which_none_can_be_made_is_passed_over_and_says_why(
    way: Callable[[Bench, Guest], None], state: str, code: str, told: int, backups: Backups
) -> None:
    bench = backups.bench
    guest = bench.guest()
    row = planned(bench, guest)
    due = next_of(row)
    way(bench, guest)

    assert backup_schedules_run(at=due)["asked"] == 0
    assert backup_schedules_run(at=due + DUE)["asked"] == 0

    assert turns(row) == [(state, code)]
    assert Notice.objects.filter(subject__contains="nightly").count() == told


def test_a_machine_that_is_busy_has_its_turn_later_but_not_for_ever(backups: Backups) -> None:
    bench = backups.bench
    guest = bench.guest()
    row = planned(bench, guest)
    due = next_of(row)
    wish = bench.ask(guest, "stop")
    backup_schedules_run(at=due)
    assert backup_schedules_run(at=due + DUE)["asked"] == 0, "not at every beat"

    with every_tenant(why="test"), transaction.atomic():
        BackupTurn.objects.update(due_at=due + PATIENCE)
        backup_schedules_run(at=due + PATIENCE)
        assert turns(row) == [("passed", "operation_in_progress")]
        transaction.set_rollback(True)
    assert run(wish.pk) == "succeeded"
    assert backup_schedules_run(at=due + AGAIN)["asked"] == 1


def test_no_more_than_a_few_are_under_way_on_a_host(backups: Backups) -> None:
    bench = backups.bench
    row = planned(bench, *(bench.guest() for _number in range(3)))
    due = next_of(row)

    assert backup_schedules_run(at=due)["asked"] == slots.AT_ONCE
    assert sorted(turns(row)) == [("asked", ""), ("asked", ""), ("waiting", "host_busy")]
    pretended(bench)
    assert backup_schedules_run(at=due + AGAIN)["asked"] == 1


def test_whoever_comes_late_waits_as_long_for_others_on_its_host(backups: Backups) -> None:
    bench = backups.bench
    row = planned(bench, *(bench.guest() for _number in range(3)))
    late = next_of(row) + timedelta(hours=10)

    assert backup_schedules_run(at=late)["asked"] == slots.AT_ONCE
    assert sorted(turns(row)) == [("asked", ""), ("asked", ""), ("waiting", "host_busy")]
    pretended(bench)
    assert backup_schedules_run(at=late + AGAIN)["asked"] == 1


def test_owners_do_not_hear_again_of_what_they_were_told(backups: Backups) -> None:
    bench = backups.bench
    row = planned(bench, bench.guest())

    for broken in (True, False, False, False):
        moment_of(row, bench, broken=broken)
        assert Notice.objects.filter(subject__contains="nightly").count() == 1
    assert not fresh(row).failing


def test_a_suspended_projects_schedules_wait_and_then_run_once(backups: Backups) -> None:
    bench = backups.bench
    row = planned(bench, bench.guest())
    due = next_of(row)
    tenant_suspend(bench.house.tenant, reason="unpaid", guests="keep", actor=factories.desk())

    assert backup_schedules_run(at=due + 3 * DAY) == QUIET
    bench.house.tenant.refresh_from_db()
    tenant_unsuspend(bench.house.tenant, actor=factories.desk())
    assert backup_schedules_run(at=due + 3 * DAY)["opened"] == 1
    assert backup_schedules_run(at=due + 3 * DAY)["opened"] == 0


def test_owners_hear_of_a_failing_schedule_once_and_again_only_after_it_had_worked(backups: Backups) -> None:
    bench = backups.bench
    guest = bench.guest()
    row = planned(bench, guest)

    def heard() -> int:
        return Notice.objects.filter(subject__contains="nightly").count()

    for told in (1, 1):
        moment_of(row, bench, broken=True)
        assert turns(row)[-1] == ("failed", "storage_full")
        assert heard() == told
    moment_of(row, bench)
    assert [each.state for each in made(row)] == ["ready"], "what failed before goes with the next that is whole"
    moment_of(row, bench, broken=True)
    assert heard() == 2
