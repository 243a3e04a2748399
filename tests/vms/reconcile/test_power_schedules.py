"""Machines by the clock: each moment counts once, whatever was off, asleep or twice there; a lease ends in the bin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine

from operations.models import Operation
from operations.runner import run
from portal.core.errors import Conflict, Forbidden, Invalid
from tenants.actors import Actor
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.tenants import tenant_suspend
from tests import factories
from tests.portal.api.rest import Rest
from tests.vms.reconcile.bench import Bench
from vms.hypervisor.errors import Refused
from vms.models import Guest, PowerSchedule
from vms.services.guests import guest_delete, guest_edit, lease
from vms.services.guests.lease import guest_lease, leases_end
from vms.services.power_schedules import (
    LATE,
    next_time,
    schedule_create,
    schedule_delete,
    schedule_switch,
    schedules_run,
)
from vms.states import Power

pytestmark = pytest.mark.django_db
BERLIN = ZoneInfo("Europe/Berlin")
DUE = timedelta(seconds=5)


def scheduled(bench: Bench, guest: Guest, action: str, cron: str = "0 8 * * *", timezone: str = "") -> PowerSchedule:
    with tenant_scope(bench.house.tenant):
        return schedule_create(guest, action=action, cron=cron, timezone=timezone, actor=bench.house.actor)


def fresh(row: PowerSchedule) -> PowerSchedule:
    with every_tenant(why="test"):
        return PowerSchedule.objects.get(pk=row.pk)


def asked(guest: Guest) -> list[tuple[str, str]]:
    rows = Operation.objects.filter(subject_id=guest.pk).exclude(kind="guest.create").order_by("created_at")
    return list(rows.values_list("kind", "requested_via"))


@pytest.mark.parametrize(
    ("action", "power", "kind"),
    [
        ("start", Power.STOPPED, "guest.start"),
        ("shutdown", Power.RUNNING, "guest.shutdown"),
        ("stop", Power.RUNNING, "guest.stop"),
        ("reboot", Power.RUNNING, "guest.reboot"),
    ],
)
def test_a_machine_is_switched_once_at_its_moment(action: str, power: Power, kind: str, bench: Bench) -> None:
    guest = bench.guest(power)
    row = scheduled(bench, guest, action)
    due = row.next_at
    assert due is not None

    assert schedules_run(at=due - DUE) == 0
    assert (schedules_run(at=due + DUE), schedules_run(at=due + DUE)) == (1, 0)

    assert asked(guest) == [(kind, "schedule")]
    after = fresh(row)
    assert (after.last_at, after.last_code, after.next_at) == (due, "", due + timedelta(days=1))
    assert after.last_operation is not None
    assert run(after.last_operation) == "succeeded"
    assert bench.findings() == []


def test_what_the_machine_is_in_no_state_for_is_passed_over_and_says_so(bench: Bench) -> None:
    row = scheduled(bench, bench.guest(), "start")
    assert row.next_at is not None

    assert schedules_run(at=row.next_at) == 0

    after = fresh(row)
    assert (after.last_code, after.last_operation) == ("wrong_state", None)
    assert after.next_at == row.next_at + timedelta(days=1)


def test_what_was_due_while_nobody_looked_is_missed_and_not_made_up_for(bench: Bench) -> None:
    guest = bench.guest()
    row = scheduled(bench, guest, "shutdown")
    assert row.next_at is not None

    assert schedules_run(at=row.next_at + LATE + DUE) == 0

    assert asked(guest) == []
    assert (fresh(row).last_code, fresh(row).next_at) == ("missed", row.next_at + timedelta(days=1))


def test_in_the_bin_and_in_a_suspended_project_nothing_is_switched(bench: Bench) -> None:
    guest = bench.guest()
    row = scheduled(bench, guest, "shutdown")
    assert row.next_at is not None
    tenant_suspend(bench.house.tenant, reason="unpaid", guests="keep", actor=factories.desk())

    assert schedules_run(at=row.next_at) == 0
    assert fresh(row).next_at == row.next_at, "it waits"
    assert asked(guest) == []


def test_one_that_is_off_is_never_due_and_one_turned_on_makes_up_for_nothing(bench: Bench) -> None:
    row = scheduled(bench, bench.guest(), "shutdown", cron="*/5 * * * *")
    with tenant_scope(bench.house.tenant):
        off = schedule_switch(row, enabled=False, actor=bench.house.actor)
        assert off.next_at is None
    assert schedules_run(at=factories.now() + timedelta(days=1)) == 0
    with tenant_scope(bench.house.tenant):
        on = schedule_switch(row, enabled=True, actor=bench.house.actor)
        assert on.next_at is not None
        assert on.next_at > factories.now()
        schedule_delete(row, actor=bench.house.actor)
        assert not PowerSchedule.objects.exists()


@pytest.mark.parametrize(
    "cron",
    ["* * * * *", "*/4 * * * *", "0,3 8 * * *", "* * * * * *", "@daily", "61 * * * *", "0 0 31 2 *", "", "0 8 * *",
     "0 8 * * 1-5 " + "x" * 100, "0 8 * * mon; rm"],
)  # fmt: skip
def test_a_line_that_is_none_or_comes_too_often_is_refused(cron: str, bench: Bench) -> None:
    guest = bench.guest()
    with pytest.raises(Invalid) as refused:
        scheduled(bench, guest, "start", cron=cron)
    assert [error.pointer for error in refused.value.errors] == ["/cron"]


@pytest.mark.parametrize(
    ("cron", "after", "moments"),
    [
        ("30 2 * * *", "2026-03-28T12:00", ["2026-03-29T03:00", "2026-03-30T02:30"]),
        ("30 2 * * *", "2026-10-24T12:00", ["2026-10-25T02:30", "2026-10-26T02:30"]),
        ("0 8 * * 1-5", "2026-11-27T09:00", ["2026-11-30T08:00", "2026-12-01T08:00"]),
    ],
)
def test_clocks_that_change_skip_nothing_and_do_nothing_twice(cron: str, after: str, moments: list[str]) -> None:
    at = datetime.fromisoformat(after).replace(tzinfo=BERLIN)
    found = []
    for _moment in moments:
        following = next_time(cron, "Europe/Berlin", at)
        assert following is not None
        at = following
        found.append(at.astimezone(BERLIN).strftime("%Y-%m-%dT%H:%M"))
    assert found == moments


@pytest.mark.parametrize(
    ("cron", "zone", "after"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:04:33+00:00"),
        ("59 1 * * *", "Australia/Lord_Howe", "2026-04-04T15:01:03+00:00"),
    ],
)
def test_in_an_hour_that_comes_twice_what_is_over_is_not_next(cron: str, zone: str, after: str) -> None:
    following = next_time(cron, zone, datetime.fromisoformat(after))

    assert following is not None
    assert following.astimezone(UTC) > datetime.fromisoformat(after)


@pytest.mark.parametrize("hour", [0, 1, 22])
def test_two_moments_that_are_too_near_are_found_at_whichever_hour_one_asks(hour: int, bench: Bench) -> None:
    guest = bench.guest()
    with time_machine.travel(datetime(2026, 11, 23, hour, 30, tzinfo=UTC), tick=False), pytest.raises(Invalid):
        scheduled(bench, guest, "start", cron="2,58 0,2,4,6,8,10,12,14,16,18,20,22,23 * * *")


def test_the_clock_does_not_start_what_is_gone_from_its_host_as_an_operator_may(bench: Bench) -> None:
    guest = bench.guest(Power.STOPPED)
    row = scheduled(bench, guest, "start")
    assert row.next_at is not None
    with every_tenant(why="test"):
        Guest.objects.filter(pk=guest.pk).update(seen_power=Power.ABSENT)

    assert schedules_run(at=row.next_at) == 0

    assert (fresh(row).last_code, fresh(row).last_operation) == ("wrong_state", None)


def test_it_follows_the_projects_clocks_unless_it_has_its_own(bench: Bench) -> None:
    bench.house.tenant.timezone = "Asia/Tokyo"
    bench.house.tenant.save(update_fields=["timezone"])
    guest = bench.guest()

    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False):
        theirs, own = scheduled(bench, guest, "stop"), scheduled(bench, guest, "stop", timezone="Europe/Berlin")

    assert theirs.next_at == datetime(2026, 11, 23, 23, tzinfo=UTC)
    assert own.next_at == datetime(2026, 11, 24, 7, tzinfo=UTC)


def test_rest_keeps_schedules_of_a_machine(bench: Bench) -> None:
    guest, rest = bench.guest(), Rest(bench.house.token)
    url = f"{bench.house.url}/guests/{guest.pk}/power-schedules"

    made = rest.post(url, {"action": "shutdown", "cron": "0  19 * * 1-5", "timezone": "Europe/Berlin"})
    assert made.status == 201, made
    assert made.json["cron"] == "0 19 * * 1-5"
    again = rest.post(url, {"action": "shutdown", "cron": "0 19 * * 1-5", "timezone": "Europe/Berlin"})
    assert (again.status, again.json["code"]) == (409, "schedule_exists")
    assert [row["id"] for row in rest.get(url).json["items"]] == [made.json["id"]]
    one = f"{url}/{made.json['id']}"
    machine, seen = (rest.get(url).headers["ETag"] for url in (f"{bench.house.url}/guests/{guest.pk}", one))
    for method, body in (("PATCH", {"enabled": False}), ("DELETE", None)):
        stale = rest.ask(method, one, body, **{"If-Match": machine})
        assert stale.status == 412, "the machine's tag is not the schedule's"
    off = rest.ask("PATCH", one, {"enabled": False}, **{"If-Match": seen})
    assert (off.json["enabled"], off.json["next_at"]) == (False, None)
    assert rest.delete(f"{url}/{made.json['id']}").status == 204
    assert rest.get(f"{url}/{made.json['id']}").status == 404


def test_a_lease_ends_in_the_bin_and_a_machine_had_back_has_none(bench: Bench) -> None:
    guest = bench.guest()
    end = factories.now() + timedelta(days=3)
    said = Rest(bench.house.token).post(f"{bench.house.url}/guests/{guest.pk}/lease", {"ends_at": end.isoformat()})
    assert said.json["lease_ends_at"], said

    assert leases_end(at=end - DUE) == 0
    assert leases_end(at=end) == 1
    assert leases_end(at=end) == 0, "it is being deleted"
    assert asked(guest) == [("guest.delete", "lease")]
    bench.settle()

    row = bench.fresh(guest)
    assert row.binned_at is not None
    assert row.lease_ends_at is None
    assert run(bench.ask(guest, "restore").pk) == "succeeded"
    assert leases_end(at=end + timedelta(days=1)) == 0


def leased(bench: Bench, end: datetime) -> Guest:
    guest = bench.guest()
    with tenant_scope(bench.house.tenant):
        return guest_lease(guest, end, actor=bench.house.actor)


def test_a_lease_that_is_prolonged_while_others_end_is_not_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    end = factories.now() + timedelta(days=3)
    first, second = leased(bench, end), leased(bench, end + DUE)

    def ended(guest: Guest, *, actor: Actor) -> Operation:
        guest_lease(second, end + timedelta(days=9), actor=bench.house.actor)
        return guest_delete(guest, actor=actor)

    monkeypatch.setattr(lease, "guest_delete", ended)

    assert leases_end(at=end + DUE) == 1
    assert asked(first) == [("guest.delete", "lease")]
    assert asked(second) == []


def test_deletions_that_wait_keep_no_other_lease_from_its_end(bench: Bench, settings: Any) -> None:
    settings.CAPS = {**settings.CAPS, "batch": 1}
    end = factories.now() + timedelta(days=3)
    leased(bench, end)
    leased(bench, end + DUE)

    assert [leases_end(at=end + DUE) for _round in range(3)] == [1, 1, 0]


def test_a_protected_machine_outlives_its_lease(bench: Bench) -> None:
    guest, actor = bench.guest(), bench.house.actor
    end = factories.now() + timedelta(days=3)
    with tenant_scope(bench.house.tenant):
        guest_lease(guest, end, actor=actor)
        guest_edit(guest, protected=True, actor=actor)
        assert leases_end(at=end) == 0
        guest_lease(guest, None, actor=actor)
        with pytest.raises(Conflict):
            guest_lease(guest, end, actor=actor)


@pytest.mark.parametrize("away", [timedelta(0), timedelta(minutes=9), timedelta(days=6 * 366), timedelta(days=-1)])
def test_a_lease_ends_neither_at_once_nor_in_another_age(away: timedelta, bench: Bench) -> None:
    guest = bench.guest()
    with tenant_scope(bench.house.tenant), pytest.raises(Invalid):
        guest_lease(guest, factories.now() + away, actor=bench.house.actor)


def test_who_may_only_look_sets_no_clock(bench: Bench) -> None:
    guest = bench.guest()
    with tenant_scope(bench.house.tenant):
        viewer = factories.user("looks@example.test")
        factories.join(bench.house.tenant, viewer, role="viewer")
        actor = factories.actor_in(bench.house.tenant, viewer)
        with pytest.raises(Forbidden):
            schedule_create(guest, action="stop", cron="0 8 * * *", actor=actor)
        with pytest.raises(Forbidden):
            guest_lease(guest, None, actor=actor)


def test_a_schedule_whose_time_zone_is_gone_is_turned_off_and_keeps_nobody(bench: Bench) -> None:
    lost, other = (scheduled(bench, bench.guest(), "stop") for _ in range(2))
    assert other.next_at is not None
    with every_tenant(why="test"):
        PowerSchedule.objects.filter(pk=lost.pk).update(timezone="Europe/Atlantis", next_at=other.next_at - DUE)

    assert schedules_run(at=other.next_at) == 1
    assert (fresh(lost).enabled, fresh(lost).last_code) == (False, "unreadable")


def test_a_deletion_that_failed_at_the_end_of_a_lease_is_asked_for_again_after_an_hour(bench: Bench) -> None:
    guest = bench.guest()
    end = factories.now() + timedelta(minutes=11)
    with tenant_scope(bench.house.tenant):
        guest_lease(guest, end, actor=bench.house.actor)
    bench.on_host.fail("undefine", Refused("no"))

    assert leases_end(at=end) == 1
    bench.settle()

    assert bench.fresh(guest).binned_at is None
    assert leases_end(at=end) == 0
    assert leases_end(at=end + timedelta(hours=2)) == 1
