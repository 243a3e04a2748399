"""What was on when its host restarted is on again, in the order that its project gave; what somebody stopped stays off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from operations.models import Operation
from operations.runner import run
from operations.services import Failure, Hold, operation_cancel, operation_fail, operation_submit
from portal.core.clock import now
from portal.core.errors import Conflict
from portal.core.ids import uuid7
from tenants.models import Quota, Tenant
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.vms.reconcile.bench import Bench
from vms.hypervisor.errors import Refused
from vms.models import Guest, Host
from vms.reconcile.sweep import sweep
from vms.services.guests import Observation, guest_edit, guest_record_observation, guests_mark_unknown
from vms.services.guests.power import guest_actions
from vms.services.guests.returning import Placed, guests_return, their_turn
from vms.services.hosts import host_record_heartbeat
from vms.specs import StartOrder
from vms.states import HostState, Power

HOUR, AT = timedelta(hours=1), datetime(2026, 1, 1, tzinfo=UTC)


def returns(bench: Bench, *, late: timedelta = timedelta(0)) -> list[str]:
    """The host is looked at, and those whose turn it is are started; their names, in the order they were asked for."""
    bench.host.refresh_from_db()
    with every_tenant(why="test"):
        sweep(bench.host)
    guests_return(at=now() + late)
    asked = list(Operation.objects.filter(kind="guest.start", status="queued").order_by("created_at", "pk"))
    for operation in asked:
        assert run(operation.pk) == "succeeded", operation.error_detail
    return [operation.subject_name for operation in asked]


def placed(bench: Bench, name: str, order: int | None, delay_s: int = 0) -> Guest:
    guest, operation = bench.ask_create(name)
    assert run(operation.pk) == "succeeded"
    with tenant_scope(bench.house.tenant):
        return guest_edit(guest, actor=bench.house.actor, start=StartOrder(order, delay_s))


def running_slots(bench: Bench) -> int:
    return Quota.objects.get(tenant=bench.house.tenant, resource="running_guests").used


@pytest.mark.parametrize("silent", [True, False], ids=["after a silence", "back before it was missed"])
def test_what_was_on_is_on_again_and_what_was_off_is_not(silent: bool, bench: Bench) -> None:
    on, off, asleep, held = (bench.guest(p) for p in (Power.RUNNING, Power.STOPPED, Power.SUSPENDED, Power.PAUSED))
    if silent:
        guests_mark_unknown(bench.host)
    bench.on_host.restart()

    assert returns(bench) == [on.name]

    assert [bench.fresh(one).seen_power for one in (on, off, asleep, held)] == [
        Power.RUNNING, Power.STOPPED, Power.SUSPENDED, Power.STOPPED,
    ]  # fmt: skip
    assert bench.fresh(held).want_power == Power.STOPPED, "what it was paused with is gone"
    assert running_slots(bench) == 1
    assert returns(bench) == []
    assert bench.findings() == []


def test_until_its_turn_its_page_says_why_it_is_off_and_it_keeps_its_place_in_the_quota(bench: Bench) -> None:
    guest = bench.guest()
    bench.on_host.restart()
    with every_tenant(why="test"):
        sweep(bench.host)

    lost = bench.fresh(guest)
    assert (lost.want_power, lost.seen_power, lost.problem_code) == (Power.RUNNING, Power.STOPPED, "host_restarted")
    assert lost.problem_message == "Its host restarted. It is started again when its turn comes."
    assert running_slots(bench) == 1

    returns(bench)
    assert (bench.fresh(guest).problem_code, bench.fresh(guest).problem_message) == ("", "")
    start = Operation.objects.get(kind="guest.start")
    assert (start.requested_by, start.requested_via) == (None, "host_restarted")


def inside(bench: Bench, guest: Guest) -> None:
    bench.on_host.happen(str(guest.pk), Power.STOPPED, "shutdown")


def by_virsh(bench: Bench, guest: Guest) -> None:
    bench.on_host.happen(str(guest.pk), Power.STOPPED, "destroyed")


@pytest.mark.parametrize("stop", [inside, by_virsh], ids=["from inside", "on its host"])
@pytest.mark.parametrize("silent", [True, False], ids=["while it was silent", "heard"])
def test_what_somebody_stopped_stays_off_and_gives_its_place_back(
    stop: Callable[[Bench, Guest], None], silent: bool, bench: Bench
) -> None:
    guest = bench.guest()
    if silent:
        guests_mark_unknown(bench.host)
    stop(bench, guest)

    assert returns(bench) == []

    assert (bench.fresh(guest).want_power, bench.fresh(guest).seen_power) == (Power.STOPPED, Power.STOPPED)
    assert running_slots(bench) == 0
    shut_down(bench, guest, timedelta(minutes=7))
    bench.on_host.restart()
    assert returns(bench) == []


def shut_down(bench: Bench, guest: Guest, ago: timedelta) -> None:
    """As if it had been then that it shut itself down, if it did."""
    with every_tenant(why="test"):
        Guest.objects.filter(pk=guest.pk).exclude(yielded_at=None).update(yielded_at=now() - ago)


def goes_down(bench: Bench, *, silent: bool) -> list[Guest]:
    """A host that shuts its machines down before it goes itself; nobody has told it anything."""
    guests = [bench.guest() for _ in range(3)]
    with every_tenant(why="test"):
        sweep(bench.host)
    for guest in guests[:2]:
        inside(bench, guest)
        guest_record_observation(guest.pk, Observation(Power.STOPPED, "shutdown"), host=bench.host)
    if silent:
        guests_mark_unknown(bench.host)
    bench.on_host.restart()
    bench.host.refresh_from_db()
    return guests


@pytest.mark.parametrize("silent", [True, False], ids=["after a silence", "back before it was missed"])
def test_what_its_host_shut_down_as_it_went_down_is_on_again(silent: bool, bench: Bench) -> None:
    """The third did not listen until the host itself was off."""
    first, second, deaf = goes_down(bench, silent=silent)
    shut_down(bench, first, timedelta(minutes=10))
    shut_down(bench, second, timedelta(minutes=5))
    assert running_slots(bench) == 1

    assert sorted(returns(bench)) == sorted(one.name for one in (first, second, deaf))

    assert running_slots(bench) == 3
    assert {bench.fresh(one).seen_power for one in (first, second, deaf)} == {Power.RUNNING}
    assert returns(bench) == []
    assert bench.findings() == []


def test_what_somebody_shut_down_long_before_its_host_went_down_stays_off(bench: Bench) -> None:
    first, second, deaf = goes_down(bench, silent=False)
    shut_down(bench, first, timedelta(minutes=20))
    shut_down(bench, second, timedelta(minutes=5))

    assert sorted(returns(bench)) == sorted(one.name for one in (second, deaf))
    assert bench.fresh(first).want_power == Power.STOPPED


def test_what_was_told_to_stay_off_since_or_has_no_place_left_stays_off(bench: Bench) -> None:
    first, second, deaf = goes_down(bench, silent=False)
    assert run(bench.ask(first, "start").pk) == "succeeded"
    assert run(bench.ask(first, "stop").pk) == "succeeded"
    Quota.objects.filter(tenant=bench.house.tenant, resource="running_guests").update(limit=1)

    assert returns(bench) == [deaf.name]
    assert [bench.fresh(one).want_power for one in (first, second)] == [Power.STOPPED, Power.STOPPED]


def test_a_daemon_that_was_restarted_brings_nothing_back(bench: Bench) -> None:
    first, second, _deaf = goes_down(bench, silent=True)
    bench.on_host.up_s = 40 * 86400

    assert first.name not in returns(bench)
    assert bench.fresh(second).want_power == Power.STOPPED


def lost(bench: Bench) -> Guest:
    """One that waits for its turn."""
    guest = bench.guest()
    bench.on_host.restart()
    with every_tenant(why="test"):
        sweep(bench.host)
    return bench.fresh(guest)


def test_one_that_waits_for_its_turn_can_be_told_to_stay_off(bench: Bench) -> None:
    guest = lost(bench)
    with tenant_scope(bench.house.tenant):
        assert [each.name for each in guest_actions(guest, bench.house.actor, busy=False)] == ["start", "stop"]

    assert run(bench.ask(guest, "stop").pk) == "succeeded"

    assert returns(bench) == []
    told = bench.fresh(guest)
    assert (told.want_power, told.seen_power, told.problem_code) == (Power.STOPPED, Power.STOPPED, "")
    assert running_slots(bench) == 0
    with pytest.raises(Conflict):
        bench.ask(guest, "stop")
    assert bench.findings() == []


@pytest.mark.parametrize("called_off", [False, True], ids=["told", "called off"])
def test_one_whose_host_is_away_can_be_told_to_stay_off(called_off: bool, bench: Bench) -> None:
    """It is not looked for on a host that does not answer: the wish is written down, and counts when that is back."""
    guest = bench.guest()
    bench.on_host.silent = True
    Host.objects.filter(pk=bench.host.pk).update(state=HostState.DOWN)
    guests_mark_unknown(bench.host)

    operation = bench.ask(guest, "stop")
    assert run(operation.pk) == "queued"
    if called_off:
        with tenant_scope(bench.house.tenant):
            operation_cancel(operation, actor=bench.house.actor)
    else:
        operation_fail(operation, Failure("timed_out", "This could not be done in time."))
    assert running_slots(bench) == 1, "nobody knows"
    bench.on_host.restart()
    host_record_heartbeat(bench.host)

    assert returns(bench) == ([guest.name] if called_off else [])
    assert running_slots(bench) == int(called_off)
    assert bench.findings() == []


@pytest.mark.parametrize("deed", ["rebuild", "rescue"])
@pytest.mark.parametrize("fails", [False, True], ids=["done", "fails"])
def test_what_is_done_with_it_before_its_turn_leaves_it_on(deed: str, fails: bool, bench: Bench) -> None:
    guest = lost(bench)
    operation = bench.ask(guest, deed)
    if fails:
        bench.on_host.fail("create_overlay", Refused("no"))
    run(operation.pk)
    bench.settle()

    assert returns(bench) == ([guest.name] if fails else [])
    assert (bench.fresh(guest).want_power, bench.fresh(guest).seen_power) == (Power.RUNNING, Power.RUNNING)
    assert bench.findings() == []


def test_one_that_did_not_start_after_it_was_rebuilt_stays_off(bench: Bench) -> None:
    guest = lost(bench)
    operation = bench.ask(guest, "rebuild")
    bench.on_host.fail("start", Refused("no"))
    assert run(operation.pk) == "failed"
    bench.settle()

    assert returns(bench) == []
    assert bench.fresh(guest).problem_code == "host_refused"


def test_a_machine_that_crashed_is_not_started(bench: Bench) -> None:
    guest = bench.guest()
    bench.on_host.happen(str(guest.pk), Power.CRASHED, "crashed")

    assert returns(bench) == []


def test_those_of_smaller_numbers_are_started_first_and_have_their_time(bench: Bench) -> None:
    for name, order, delay_s in [("web-1", 2, 0), ("free", None, 0), ("db", 1, 60), ("web-2", 2, 0)]:
        placed(bench, name, order, delay_s)
    guests_mark_unknown(bench.host)
    bench.on_host.restart()

    assert returns(bench) == ["db"]
    assert returns(bench) == [], "its minute is not over"
    assert returns(bench, late=HOUR) == ["web-1", "web-2"]
    assert returns(bench, late=HOUR) == ["free"]


def test_one_that_does_not_start_keeps_nobody_waiting(bench: Bench) -> None:
    placed(bench, "db", 1, 600)
    placed(bench, "web", 2)
    bench.on_host.restart()
    with every_tenant(why="test"):
        sweep(bench.host)
    guests_return(at=now())
    bench.on_host.fail("start", Refused("no"))
    assert run(Operation.objects.get(kind="guest.start").pk) == "failed"

    assert returns(bench) == ["web"]
    assert running_slots(bench) == 1


def test_nobody_waits_for_one_whose_host_is_silent(bench: Bench) -> None:
    away = placed(bench, "db", 1)
    placed(bench, "web", 2)
    bench.on_host.restart()
    silent = factories.host_up()
    Host.objects.filter(pk=silent.pk).update(state=HostState.DOWN)
    with every_tenant(why="test"):
        Guest.objects.filter(pk=away.pk).update(host=silent, seen_power=Power.UNKNOWN)

    assert returns(bench) == ["web"]


def one(place: int, power: Power = Power.STOPPED, **facts: Any) -> Placed:
    usual: dict[str, Any] = {"host": UUID(int=9), "tenant": UUID(int=1), "delay_s": 60, "since": AT - HOUR}
    return Placed(uuid7(), place=place, power=power, **usual | {"is_lost": power == Power.STOPPED} | facts)


@pytest.mark.parametrize(
    ("others", "comes"),
    [
        ([one(1, Power.RUNNING)], True),
        ([one(1, Power.RUNNING, since=AT - timedelta(seconds=59))], False),
        ([one(1, Power.RUNNING, since=AT - timedelta(seconds=60))], True),
        ([one(1)], False),
        ([one(1, tenant=UUID(int=2))], True),
        ([one(1, Power.STOPPED, is_lost=False)], True),
        ([one(1, Power.UNKNOWN)], False),
        ([one(1, Power.CRASHED)], True),
        ([one(1, Power.ABSENT)], True),
        ([one(2), one(3)], True),
        ([one(3, Power.RUNNING, since=AT)], True),
    ],
    ids=[
        "runs", "just runs", "has had its time", "is lost, too", "is another project's", "is off for another reason",
        "has not been looked at", "crashed", "is gone", "is not before it", "is later",
    ],
)  # fmt: skip
def test_who_is_waited_for(others: list[Placed], comes: bool) -> None:
    mine = one(2)

    assert (mine in their_turn([*others, mine], AT)) == comes


@pytest.mark.parametrize("state", [HostState.SUSPECT, HostState.DOWN])
def test_on_a_host_that_does_not_answer_nothing_is_started(state: HostState, bench: Bench) -> None:
    bench.guest()
    bench.on_host.restart()
    with every_tenant(why="test"):
        sweep(bench.host)
        Host.objects.filter(pk=bench.host.pk).update(state=state)

    assert guests_return(at=now()) == 0


def test_a_suspended_project_waits_until_it_is_active(bench: Bench) -> None:
    guest = bench.guest()
    bench.on_host.restart()
    with every_tenant(why="test"):
        sweep(bench.host)
    Tenant.objects.filter(pk=bench.house.tenant.pk).update(state="suspended")
    assert guests_return(at=now()) == 0

    Tenant.objects.filter(pk=bench.house.tenant.pk).update(state="active")
    assert returns(bench) == [guest.name]


def test_one_that_something_is_done_with_waits_and_is_asked_for_once(bench: Bench) -> None:
    guest = bench.guest()
    with tenant_scope(bench.house.tenant):
        hold = operation_submit(
            guest, kind="guest.look", actor=bench.house.actor, holds=[Hold("guest", guest.pk)], params={"what": "facts"}
        )
    guests_mark_unknown(bench.host)
    bench.on_host.restart()
    with every_tenant(why="test"):
        sweep(bench.host)
    assert guests_return(at=now()) == 0
    run(hold.pk)

    with every_tenant(why="test"):
        sweep(bench.host)
    assert [guests_return(at=now()) for _ in range(3)] == [1, 0, 0]


def test_of_many_on_one_host_few_are_asked_for_at_once(bench: Bench, settings: Any) -> None:
    settings.LANE_WIDTH = 1
    names = {bench.guest().name for _ in range(5)}
    bench.on_host.restart()
    with every_tenant(why="test"):
        sweep(bench.host)

    assert [guests_return(at=now()) for _ in range(2)] == [2, 0]
    bench.settle()
    started: set[str] = set()
    while more := returns(bench):
        assert len(more) <= 2
        started |= set(more)
    assert len(started) == 3
    assert started < names
