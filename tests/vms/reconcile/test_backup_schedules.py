"""Backups by the clock: one for each machine and moment, whatever was off, asleep or twice there; then the old ones go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, transaction

from operations.models import Operation
from operations.runner import run
from portal.core.errors import Forbidden, Invalid, Missing
from portal.core.ids import uuid7
from tenants.models import Notice
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.quota import quota_set
from tenants.services.tenants import tenant_suspend, tenant_unsuspend
from tests import factories
from tests.support.crowd import together
from tests.vms.reconcile.backup_lives import Backups
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import at_points
from vms.backups import restic
from vms.hypervisor.errors import Refused
from vms.models import Backup, BackupSchedule, BackupTurn, Guest
from vms.reconcile.stores import repository_place
from vms.selectors.backup_schedules import backup_schedules_visible
from vms.services import backups as services
from vms.services.backups import slots
from vms.services.backups.retention import Keep, backups_expired
from vms.services.backups.schedules import ScheduleSpec, schedule_spec
from vms.services.backups.slots import AGAIN, PATIENCE, backup_schedules_run, place_in
from vms.services.guests import guest_edit
from vms.states import BackupState, Power

DAY = timedelta(days=1)
DUE = timedelta(seconds=5)
QUIET = {"opened": 0, "asked": 0, "tidied": 0}


@pytest.fixture
def backups(bench: Bench, tmp_path: Path) -> Backups:
    return Backups(bench, tmp_path / "store")


def planned(bench: Bench, *guests: Guest, **more: Any) -> BackupSchedule:
    spec = ScheduleSpec(**{"name": "nightly", "window_minutes": 0, "guests": guests, "keep": Keep(last=2), **more})
    with tenant_scope(bench.house.tenant):
        return services.backup_schedule_create(bench.house.tenant, spec, actor=bench.house.actor)


def edited(row: BackupSchedule, bench: Bench, **changes: Any) -> BackupSchedule:
    with tenant_scope(bench.house.tenant):
        return services.backup_schedule_edit(row, actor=bench.house.actor, **changes)


def fresh(row: BackupSchedule) -> BackupSchedule:
    with every_tenant(why="test"):
        return BackupSchedule.objects.select_related("tenant").get(pk=row.pk)


def next_of(row: BackupSchedule) -> datetime:
    moment = fresh(row).next_at
    assert moment is not None
    return moment


def turns(row: BackupSchedule) -> list[tuple[str, str]]:
    with every_tenant(why="test"):
        rows = BackupTurn.objects.filter(schedule=row.pk).order_by("slot", "guest__name")
        return list(rows.values_list("state", "code"))


def made(row: BackupSchedule) -> list[Backup]:
    with every_tenant(why="test"):
        return list(Backup.objects.select_related("repository__store").filter(schedule=row.pk).order_by("slot"))


def round_of(row: BackupSchedule, bench: Bench) -> None:
    """Its next moment, whole: begun, made, and what it no longer keeps deleted."""
    due = next_of(row)
    assert backup_schedules_run(at=due)["opened"] == 1
    bench.settle()
    backup_schedules_run(at=due + DUE)
    bench.settle()


def pretended(bench: Bench, *, broken: bool = False) -> None:
    """What is queued ends, well or not, without a host or a store."""
    with tenant_scope(bench.house.tenant):
        for operation in Operation.objects.filter(status="queued", kind__startswith="backup."):
            if broken:
                factories.operation_broken(operation)
                continue
            Backup.objects.filter(pk=operation.subject_id).update(snapshot="0" * 8)
            factories.operation_done(operation)


def moment_of(row: BackupSchedule, bench: Bench, *, broken: bool = False) -> None:
    """Its next moment, only pretended."""
    due = next_of(row)
    assert backup_schedules_run(at=due)["opened"] == 1
    pretended(bench, broken=broken)
    backup_schedules_run(at=due + DUE)
    pretended(bench)


def test_a_machine_is_backed_up_once_at_each_moment_and_old_backups_go(backups: Backups) -> None:
    bench = backups.bench
    guest = bench.guest()
    by_hand = backups.backup(guest, b"by hand")
    row = planned(bench, guest, full_every=2)
    due = next_of(row)

    assert backup_schedules_run(at=due - DUE) == QUIET
    assert backup_schedules_run(at=due) == {"opened": 1, "asked": 1, "tidied": 0}
    assert backup_schedules_run(at=due) == QUIET
    assert turns(row) == [("asked", "")]
    bench.settle()
    assert turns(row) == [("made", "")]
    assert backup_schedules_run(at=due + DUE) == QUIET
    assert (turns(row), fresh(row).last_at, next_of(row)) == ([("done", "")], due, due + DAY)

    round_of(row, bench)
    assert [each.changed_only for each in made(row)] == [True, False], "one of two is read whole"
    round_of(row, bench)

    assert [each.slot for each in made(row)] == [due + DAY, due + 2 * DAY]
    assert backups.fresh(by_hand.pk).state == BackupState.READY
    place = repository_place(backups.fresh(by_hand.pk).repository)
    assert len(restic.snapshots(place)) == 3
    assert bench.findings() == []


def test_one_of_so_many_is_read_whole_also_where_fewer_are_kept(backups: Backups) -> None:
    bench = backups.bench
    row = planned(bench, bench.guest(), full_every=3, keep=Keep(last=1))
    how = []

    for _number in range(4):
        round_of(row, bench)
        (backup,) = made(row)
        how.append((backup.changed_only, backup.why_full))

    assert how == [(False, "first"), (True, ""), (True, ""), (False, "asked")]


@pytest.mark.django_db(transaction=True)
def test_beats_that_come_at_once_ask_for_one(transactional_db: None, backups: Backups) -> None:
    row = planned(backups.bench, backups.bench.guest())
    due = next_of(row)

    answers = together([partial(backup_schedules_run, at=due) for _beat in range(4)])

    done = [answer for answer in answers if isinstance(answer, dict)]
    assert len(done) == 4, answers
    assert [sum(each[name] for each in done) for name in QUIET] == [1, 1, 0]
    assert Operation.objects.filter(kind="backup.create").count() == 1
    assert turns(row) == [("asked", "")]


def test_each_machine_has_its_own_place_in_the_window_and_they_are_spread_over_it(backups: Backups) -> None:
    bench = backups.bench
    row = planned(bench, tags=("web",), window_minutes=60)
    places = sorted(place_in(row, uuid7()) for _number in range(200))

    assert places[0] >= timedelta()
    assert places[-1] < timedelta(hours=1)
    assert all(
        sum(begin <= place < begin + timedelta(minutes=10) for place in places) > 10
        for begin in (timedelta(minutes=minute) for minute in range(0, 60, 10))
    )

    guest = bench.guest()
    row = edited(row, bench, guests=(guest,), tags=())
    due = next_of(row)
    assert backup_schedules_run(at=due)["opened"] == 1
    with every_tenant(why="test"):
        assert BackupTurn.objects.get().due_at == due + place_in(row, guest.pk)
    assert backup_schedules_run(at=due + place_in(row, guest.pk))["asked"] == 1


def test_machines_are_those_that_are_chosen_and_those_that_wear_a_tag_when_it_begins(backups: Backups) -> None:
    bench = backups.bench
    chosen, tagged, other = bench.guest(), bench.guest(), bench.guest()
    row = planned(bench, chosen, tags=("db",))
    with tenant_scope(bench.house.tenant):
        for guest in (tagged, chosen):
            guest_edit(guest, tags=["db"], actor=bench.house.actor)
    backup_schedules_run(at=next_of(row))

    with every_tenant(why="test"):
        assert set(BackupTurn.objects.values_list("guest", flat=True)) == {chosen.pk, tagged.pk}
        assert other.pk not in set(Backup.objects.values_list("guest", flat=True))
        assert BackupTurn.objects.count() == 2, "chosen and tagged is one machine"


def test_moments_that_passed_while_all_was_off_are_made_up_for_once(backups: Backups) -> None:
    bench = backups.bench
    row = planned(bench, bench.guest(), every="hourly", window_minutes=30)
    due = next_of(row)
    late = due + timedelta(hours=5, minutes=20)

    assert backup_schedules_run(at=late)["opened"] == 1

    with every_tenant(why="test"):
        turn = BackupTurn.objects.get()
    assert turn.slot == due + timedelta(hours=5)
    assert turn.due_at == late + place_in(row, turn.guest_id), "not all at once"
    assert next_of(row) == due + timedelta(hours=6)


def test_a_turn_that_still_waits_when_the_next_moment_comes_is_over(backups: Backups) -> None:
    bench = backups.bench
    guest = bench.guest()
    row = planned(bench, guest, every="hourly", window_minutes=30)
    due = next_of(row)
    with every_tenant(why="test"):
        backup_schedules_run(at=due - DUE)
        BackupTurn.objects.create(
            tenant=bench.house.tenant, schedule=row, guest=guest, slot=due - timedelta(hours=1), due_at=due + DAY
        )

    backup_schedules_run(at=due)

    assert turns(row)[0] == ("passed", "overtaken")


def test_no_two_backups_of_one_machine_and_moment_can_be_written(backups: Backups) -> None:
    bench = backups.bench
    guest = bench.guest()
    row = planned(bench, guest)
    backup_schedules_run(at=next_of(row))
    backup = made(row)[0]

    with every_tenant(why="test"):
        turn = BackupTurn.objects.get()
        for twin in (turn, Backup.objects.get(pk=backup.pk)):
            twin.pk = None
            twin.id = uuid7()
            twin._state.adding = True
            with pytest.raises(IntegrityError), transaction.atomic():
                twin.save()


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


def test_what_a_failed_backup_left_in_the_store_is_taken_out_at_once(backups: Backups) -> None:
    bench = backups.bench
    guest = bench.guest()
    backups.backup(guest, b"one")
    backups.write(guest, b"two")
    backup, operation = backups.ask(guest)

    def die(point: str) -> None:
        if point == "backup.create:record:before":
            raise Refused("no")

    with at_points(die):
        assert run(operation.pk) == "failed"
    place = repository_place(backups.fresh(backup.pk).repository)
    assert len(restic.snapshots(place)) == 2
    bench.settle()

    assert len(restic.snapshots(place)) == 1
    assert bench.findings() == []


def test_the_last_good_one_one_that_is_damaged_and_one_by_hand_never_go(backups: Backups) -> None:
    bench = backups.bench
    guest = bench.guest()
    row = planned(bench, guest, keep=Keep(last=1))
    begin = next_of(row)
    with every_tenant(why="test"):
        good, damaged, failed = (factories.backup(bench.house, guest, name) for name in ("good", "damaged", "failed"))
        for number, backup in enumerate((good, damaged, failed)):
            backup.schedule, backup.slot = row, begin + number * DAY
            backup.created_at = begin + number * DAY
            backup.save()
        Backup.objects.filter(pk=damaged.pk).update(verified_at=begin, verified=False)
        Backup.objects.filter(pk=failed.pk).update(state=BackupState.ERROR)

        assert backups_expired(fresh(row)) == []
        Backup.objects.filter(pk=good.pk).update(state=BackupState.ERROR)
        assert backups_expired(fresh(row)) == [], "none is whole: nothing goes"


def test_what_could_not_be_let_go_goes_with_the_next(backups: Backups) -> None:
    bench = backups.bench
    row = planned(bench, bench.guest(), keep=Keep(last=1))
    moment_of(row, bench)
    due = next_of(row)
    backup_schedules_run(at=due)
    pretended(bench)
    backup_schedules_run(at=due + DUE)
    pretended(bench, broken=True)
    assert [each.state for each in made(row)] == ["deleting", "ready"]
    assert made(row)[0].problem
    moment_of(row, bench)
    assert [each.state for each in made(row)] == ["ready"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": "Bad name"}, "/name"),
        ({"every": "yearly"}, "/every"),
        ({"hour": 24}, "/hour"),
        ({"every": "cron", "cron": "*/30 * * * *"}, "/cron"),
        ({"every": "cron", "cron": "; rm -rf /"}, "/cron"),
        ({"every": "cron", "cron": "0 0 31 2 *"}, "/cron"),
        ({"timezone": "Europe/Atlantis"}, "/timezone"),
        ({"every": "hourly", "window_minutes": 31}, "/window_minutes"),
        ({"window_minutes": -1}, "/window_minutes"),
        ({"window_minutes": 721}, "/window_minutes"),
        ({"full_every": 1001}, "/full_every"),
        ({"keep": Keep()}, "/keep/last"),
        ({"keep": Keep(last=-1, daily=1)}, "/keep/last"),
        ({"keep": Keep(monthly=367)}, "/keep/monthly"),
        ({"tags": ()}, "/guests"),
        ({"tags": ("UP",)}, "/tags/0"),
    ],
)
def test_what_is_no_schedule_is_refused_by_field(changes: dict[str, Any], pointer: str, bench: Bench) -> None:
    with pytest.raises(Invalid) as refused:
        planned(bench, **{"tags": ("web",), **changes})
    assert [error.pointer for error in refused.value.errors] == [pointer]


def test_a_preview_names_the_next_runs_and_what_would_go_and_changes_nothing(backups: Backups) -> None:
    bench = backups.bench
    guest = bench.guest()
    row = planned(bench, guest)
    for _number in range(2):
        moment_of(row, bench)
    with tenant_scope(bench.house.tenant), time_machine.travel(datetime(2026, 3, 28, 12, tzinfo=UTC), tick=False):
        spec = schedule_spec(fresh(row), keep=Keep(last=1), timezone="Europe/Berlin", hour=2)
        seen = services.backup_schedule_preview(bench.house.tenant, spec, actor=bench.house.actor, schedule=fresh(row))

    assert [moment.astimezone(UTC).hour for moment in seen.next_runs] == [1, 0, 0, 0, 0], (
        "the clocks skip two in spring"
    )
    assert seen.machines == 1
    assert [each.pk for each in seen.would_delete] == [made(row)[0].pk]
    assert fresh(row).keep_last == 2
    assert len(made(row)) == 2


def test_who_reaches_some_machines_only_keeps_schedules_of_those_alone(backups: Backups) -> None:
    bench = backups.bench
    guest, other = bench.guest(), bench.guest()
    with tenant_scope(bench.house.tenant):
        guest_edit(guest, tags=["web"], actor=bench.house.actor)
    row = planned(bench, other)
    person, _token = factories.member_with(
        bench.house.tenant,
        {Permission.GUEST_VIEW, Permission.GUEST_EDIT, Permission.BACKUP_VIEW, Permission.BACKUP_MANAGE},
        tags=["web"],
    )
    actor = factories.actor_in(bench.house.tenant, person)
    with tenant_scope(bench.house.tenant):
        for given in ({"guests": (bench.fresh(other),)}, {"tags": ("db",)}):
            with pytest.raises(Forbidden):
                services.backup_schedule_create(
                    bench.house.tenant,
                    ScheduleSpec(name="mine", **given),
                    actor=actor,  # type: ignore[arg-type]
                )
        for given in ({"guests": (bench.fresh(guest),)}, {"tags": ("web",)}):
            own = services.backup_schedule_create(
                bench.house.tenant,
                ScheduleSpec(name="mine", **given),
                actor=actor,  # type: ignore[arg-type]
            )
            services.backup_schedule_delete(own, actor=actor)
        with pytest.raises(Missing):
            services.backup_schedule_delete(row, actor=actor)
    moment_of(row, bench)
    row = edited(row, bench, guests=(guest,))
    with tenant_scope(bench.house.tenant):
        assert row not in backup_schedules_visible(actor)
        with pytest.raises(Missing):
            services.backup_schedule_edit(row, actor=actor, keep=Keep(last=1))


def test_who_may_change_some_machines_only_leaves_schedules_of_others_alone(backups: Backups) -> None:
    bench = backups.bench
    guest, other = bench.guest(), bench.guest()
    with tenant_scope(bench.house.tenant):
        guest_edit(guest, tags=["web"], actor=bench.house.actor)
    row = planned(bench, guest, other)
    viewer, _token = factories.member_with(
        bench.house.tenant, {Permission.GUEST_VIEW, Permission.BACKUP_VIEW, Permission.BACKUP_MANAGE}
    )
    actor = factories.actor_in(bench.house.tenant, viewer)
    actor = replace(
        actor,
        permissions=actor.permissions | {Permission.GUEST_EDIT},
        tagged={Permission.GUEST_EDIT: (frozenset({"web"}),)},
    )

    with tenant_scope(bench.house.tenant):
        assert row in backup_schedules_visible(actor)
        with pytest.raises(Forbidden):
            services.backup_schedule_edit(row, actor=actor, guests=(bench.fresh(guest),))
        with pytest.raises(Forbidden):
            services.backup_schedule_delete(row, actor=actor)
    own = edited(row, bench, guests=(guest,))
    with tenant_scope(bench.house.tenant):
        services.backup_schedule_delete(own, actor=actor)


def test_a_schedule_that_is_deleted_leaves_its_backups(backups: Backups) -> None:
    bench = backups.bench
    guest = bench.guest()
    row = planned(bench, guest)
    moment_of(row, bench)
    backup = made(row)[0]
    with tenant_scope(bench.house.tenant):
        services.backup_schedule_delete(fresh(row), actor=bench.house.actor)

    assert backups.fresh(backup.pk).state == BackupState.READY
    with every_tenant(why="test"):
        assert not BackupTurn.objects.exists()


def test_one_that_is_off_is_never_due_and_a_machine_that_is_purged_leaves_it(backups: Backups) -> None:
    bench = backups.bench
    guest = bench.guest(Power.STOPPED)
    row = planned(bench, guest)
    off = edited(row, bench, enabled=False)
    assert off.next_at is None
    assert backup_schedules_run(at=factories.now() + 9 * DAY) == QUIET
    edited(row, bench, enabled=True)
    backup_schedules_run(at=next_of(row))
    pretended(bench)
    assert run(bench.ask(guest, "purge").pk) == "succeeded"
    assert turns(row) == []
    assert backup_schedules_run(at=next_of(row))["opened"] == 1
    assert turns(row) == []


def test_one_whose_time_zone_is_gone_is_turned_off_and_says_so(backups: Backups) -> None:
    bench = backups.bench
    row = planned(bench, bench.guest())
    due = next_of(row)
    with every_tenant(why="test"):
        BackupSchedule.objects.update(timezone="Europe/Atlantis")

    assert backup_schedules_run(at=due) == QUIET

    assert (fresh(row).enabled, fresh(row).failing, turns(row)) == (False, True, [])
    assert Notice.objects.filter(subject__contains="nightly").count() == 1
