"""Backup schedules as people ask for them: what is refused, what is foreseen, and who may."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine

from operations.runner import run
from portal.core.errors import Forbidden, Invalid, Missing
from tenants.models import Notice
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.vms.reconcile.backup_lives import Backups
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.schedule_lives import (
    DAY,
    QUIET,
    edited,
    fresh,
    made,
    moment_of,
    next_of,
    planned,
    pretended,
    turns,
)
from vms.models import BackupSchedule, BackupTurn
from vms.selectors.backup_schedules import backup_schedules_visible
from vms.services import backups as services
from vms.services.backups.retention import Keep
from vms.services.backups.schedules import ScheduleSpec, schedule_spec
from vms.services.backups.slots import backup_schedules_run
from vms.services.guests import guest_edit
from vms.states import BackupState, Power


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
