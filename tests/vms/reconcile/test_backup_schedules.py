"""Backups by the clock: one for each machine and moment, whatever was off, asleep or twice there; then the old ones go."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from django.db import IntegrityError, transaction

from operations.models import Operation
from operations.runner import run
from portal.core.ids import uuid7
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.support.crowd import together
from tests.vms.reconcile.backup_lives import Backups
from tests.vms.reconcile.lives import at_points
from tests.vms.reconcile.schedule_lives import (
    DAY,
    DUE,
    QUIET,
    edited,
    fresh,
    made,
    moment_of,
    next_of,
    planned,
    pretended,
    round_of,
    turns,
)
from vms.backups import restic
from vms.hypervisor.errors import Refused
from vms.models import Backup, BackupTurn
from vms.reconcile.stores import repository_place
from vms.services.backups.retention import Keep, backups_expired
from vms.services.backups.slots import backup_schedules_run, place_in
from vms.services.guests import guest_edit
from vms.states import BackupState


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
