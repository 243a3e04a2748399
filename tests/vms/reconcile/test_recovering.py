"""What crashed is started again, later each time, until it crashes too often; what somebody wants off stays off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from operations.models import Operation
from operations.runner import run
from portal.core.clock import now
from tenants.models import Quota, Tenant
from tenants.scoping import every_tenant, tenant_scope
from tests.vms.reconcile.bench import Bench
from vms.hypervisor.errors import Refused
from vms.models import Guest, Host
from vms.reconcile.sweep import sweep
from vms.services.guests import guest_edit
from vms.services.guests.recovering import WAITS, again_at, guests_recover
from vms.services.hosts import host_record_heartbeat
from vms.states import AfterCrash, HostState, Power
from vms.tasks import check_hosts

HOUR, SECOND, AT = timedelta(hours=1), timedelta(seconds=1), datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minutes_before", "waits"),
    [
        ([], 0),
        ([1], 30),
        ([2, 1], 60),
        ([59], 30),
        ([60], 0),
        ([4, 3, 2, 1], 240),
        ([5, 4, 3, 2, 1], None),
        ([90, 4, 3, 2, 1], 240),
    ],
)
def test_the_wait_grows_with_what_was_in_vain_within_the_hour(minutes_before: list[int], waits: int | None) -> None:
    starts = [AT - timedelta(minutes=each) for each in minutes_before]

    assert again_at(AT, starts) == (None if waits is None else AT + waits * SECOND)


def crash(bench: Bench, guest: Guest) -> None:
    bench.on_host.happen(str(guest.pk), Power.CRASHED, "crashed")
    look(bench)


def look(bench: Bench) -> None:
    bench.host.refresh_from_db()
    with every_tenant(why="test"):
        sweep(bench.host)


def recovered(bench: Bench) -> int:
    """How many were asked for, each carried out."""
    asked = guests_recover(at=now())
    for operation in Operation.objects.filter(kind="guest.start", status="queued"):
        assert run(operation.pk) == "succeeded", operation.error_detail
    look(bench)
    return asked


def test_one_that_crashes_is_on_again_and_its_page_says_so_meanwhile(bench: Bench) -> None:
    guest = bench.guest()
    crash(bench, guest)
    said = bench.fresh(guest)
    assert (said.problem_code, said.problem_message) == (
        "crashed",
        "It crashed. It is started again by itself, each time later.",
    )

    assert recovered(bench) == 1

    assert (bench.fresh(guest).seen_power, bench.fresh(guest).problem_code) == (Power.RUNNING, "")
    start = Operation.objects.get(kind="guest.start")
    assert (start.requested_by, start.requested_via) == (None, "crashed")
    assert recovered(bench) == 0
    assert Quota.objects.get(tenant=bench.house.tenant, resource="running_guests").used == 1
    assert bench.findings() == []


def test_one_that_crashes_again_and_again_is_started_later_each_time_and_then_left_off(bench: Bench) -> None:
    guest = bench.guest()
    with time_machine.travel(now(), tick=False) as clock:
        for wait in WAITS:
            clock.shift(SECOND)
            host_record_heartbeat(bench.host)
            crash(bench, guest)
            if wait:
                clock.shift(wait - SECOND)
                assert recovered(bench) == 0
                clock.shift(SECOND)
            assert recovered(bench) == 1
        clock.shift(SECOND)
        crash(bench, guest)
        assert recovered(bench) == 0
        left = bench.fresh(guest)
        assert (left.problem_code, left.problem_message) == (
            "crashed_too_often",
            "It crashed 6 times within an hour, so it is left off.",
        )
        clock.shift(2 * HOUR)
        host_record_heartbeat(bench.host)
        assert recovered(bench) == 0

        assert run(bench.ask(guest, "start").pk) == "succeeded"
        assert (bench.fresh(guest).seen_power, bench.fresh(guest).problem_code) == (Power.RUNNING, "")
        clock.shift(SECOND)
        crash(bench, guest)
        assert recovered(bench) == 1, "somebody started it, so it begins anew"
    assert bench.findings() == []


def test_what_is_to_be_left_off_is_left_off_until_that_is_changed(bench: Bench) -> None:
    guest = bench.guest()
    with tenant_scope(bench.house.tenant):
        guest_edit(guest, actor=bench.house.actor, after_crash=AfterCrash.LEAVE)
    crash(bench, guest)

    assert recovered(bench) == 0
    assert bench.fresh(guest).problem_code == ""

    for wish, code in ((AfterCrash.RESTART, "crashed"), (AfterCrash.LEAVE, ""), (AfterCrash.RESTART, "crashed")):
        with tenant_scope(bench.house.tenant):
            guest_edit(bench.fresh(guest), actor=bench.house.actor, after_crash=wish)
        assert bench.fresh(guest).problem_code == code
    assert recovered(bench) == 1


def test_only_what_is_wanted_on_and_known_to_have_crashed_is_started(bench: Bench) -> None:
    held, off, binned = bench.guest(Power.PAUSED), bench.guest(Power.STOPPED), bench.guest()
    crash(bench, held)
    assert run(bench.ask(binned, "delete").pk) == "succeeded"
    assert recovered(bench) == 0
    assert [bench.fresh(one).seen_power for one in (held, off)] == [Power.CRASHED, Power.STOPPED]

    guest = bench.guest()
    crash(bench, guest)
    Tenant.objects.filter(pk=bench.house.tenant.pk).update(state="suspended")
    assert guests_recover(at=now()) == 0
    Tenant.objects.filter(pk=bench.house.tenant.pk).update(state="active")
    Host.objects.update(state=HostState.DOWN)
    assert guests_recover(at=now()) == 0
    Host.objects.update(state=HostState.UP)
    live = bench.ask(guest, "start")
    assert guests_recover(at=now()) == 0, "somebody was faster"
    assert run(live.pk) == "succeeded"


def test_one_that_cannot_be_started_is_not_tried_for_ever(bench: Bench) -> None:
    guest = bench.guest()
    crash(bench, guest)
    bench.on_host.fail("start", Refused("no memory"))

    check_hosts()
    (operation,) = Operation.objects.filter(kind="guest.start", status="queued")
    assert run(operation.pk) == "failed"

    operation.refresh_from_db()
    left = bench.fresh(guest)
    assert operation.error_code
    assert (left.want_power, left.problem_code) == (Power.STOPPED, operation.error_code)
    assert recovered(bench) == 0
