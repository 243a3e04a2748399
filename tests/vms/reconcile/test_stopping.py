"""A Stop that finds its host silent to the end is kept: carried out once that is back, unless it is taken back (H2, L4)."""

from __future__ import annotations

import pytest

from operations.models import Operation
from operations.runner import run
from operations.services import Failure, lane_open, operation_cancel, operation_fail
from portal.core.clock import now
from tenants.scoping import every_tenant, tenant_scope
from tests.architecture.test_pages import browser
from tests.vms.reconcile.bench import Bench
from vms.models import Drift, Guest, Host
from vms.reconcile.sweep import sweep
from vms.services.guests import guests_mark_unknown
from vms.services.guests.power import guest_actions
from vms.services.guests.returning import guests_return
from vms.services.guests.stopping import guests_stop
from vms.services.hosts import host_record_heartbeat
from vms.states import HostState, Power


def gone_silent(bench: Bench) -> None:
    bench.on_host.silent = True
    Host.objects.filter(pk=bench.host.pk).update(state=HostState.DOWN)
    guests_mark_unknown(bench.host)


def given_up(bench: Bench, guest: Guest, action: str = "stop") -> None:
    """Asked for, tried, and at its deadline nobody has heard of the host."""
    operation = bench.ask(guest, action)
    lane_open(bench.host.lane)
    assert run(operation.pk) == "queued"
    operation.refresh_from_db()
    operation_fail(operation, Failure("host_unreachable", "The host did not answer in time."))


def kept(bench: Bench, power: Power = Power.RUNNING) -> Guest:
    """A machine whose Stop waits for its host."""
    guest = bench.guest(power)
    gone_silent(bench)
    given_up(bench, guest)
    return bench.fresh(guest)


def back(bench: Bench) -> None:
    """The host is heard and looked at."""
    bench.on_host.silent = False
    host_record_heartbeat(bench.host)
    bench.host.refresh_from_db()
    with every_tenant(why="test"):
        sweep(bench.host)


def done(kind: str) -> list[str]:
    asked = list(Operation.objects.filter(kind=kind, status="queued"))
    for operation in asked:
        Operation.objects.filter(pk=operation.pk).update(not_before=now())
        assert run(operation.pk) == "succeeded", operation.error_detail
    return [operation.requested_via for operation in asked]


@pytest.mark.parametrize("power", [Power.RUNNING, Power.PAUSED, Power.SUSPENDED])
def test_it_is_carried_out_once_the_host_is_back_and_is_no_drift(power: Power, bench: Bench) -> None:
    guest = kept(bench, power)
    assert (guest.want_power, guest.problem_code) == (Power.STOPPED, "stop_waits")
    assert guests_stop() == 0, "nobody has heard of it"

    back(bench)

    assert not Drift.objects.exists()
    assert (guests_stop(), guests_stop()) == (1, 0), "once"
    assert done("guest.stop") == ["host_back"]
    stopped = bench.fresh(guest)
    assert (stopped.want_power, stopped.seen_power, stopped.problem_code) == (Power.STOPPED, Power.STOPPED, "")
    assert (guests_stop(), guests_return(at=now())) == (0, 0)
    assert bench.findings() == []


def test_of_one_that_is_off_by_then_nothing_is_left_to_do(bench: Bench) -> None:
    guest = kept(bench)
    bench.on_host.restart()

    back(bench)

    assert (bench.fresh(guest).seen_power, bench.fresh(guest).problem_code) == (Power.STOPPED, "")
    assert (guests_stop(), guests_return(at=now())) == (0, 0), "it stays off"


def test_one_that_fell_silent_again_is_stopped_the_next_time(bench: Bench) -> None:
    guest = kept(bench)
    back(bench)
    assert guests_stop() == 1
    operation = Operation.objects.get(kind="guest.stop", status="queued")
    gone_silent(bench)
    assert run(operation.pk) == "queued"
    operation.refresh_from_db()
    operation_fail(operation, Failure("host_unreachable", "The host did not answer in time."))
    assert bench.fresh(guest).problem_code == "stop_waits"

    back(bench)

    assert guests_stop() == 1
    assert done("guest.stop") == ["host_back"]


@pytest.mark.parametrize("heard", [False, True], ids=["while it is silent", "just as it is back"])
def test_start_takes_it_back_and_starts_nothing_that_runs(heard: bool, bench: Bench) -> None:
    guest = kept(bench)
    if heard:
        back(bench)
    with tenant_scope(bench.house.tenant):
        names = {each.name for each in guest_actions(bench.fresh(guest), bench.house.actor, busy=False)}
    assert {"start", "stop"} <= names

    started = bench.on_host.calls["start"]
    bench.ask(guest, "start")
    assert bench.fresh(guest).problem_code == ""
    back(bench)

    assert guests_stop() == 0
    assert len(done("guest.start")) == 1
    assert bench.on_host.calls["start"] == started
    assert (bench.fresh(guest).want_power, bench.fresh(guest).seen_power) == (Power.RUNNING, Power.RUNNING)
    assert bench.findings() == []


@pytest.mark.parametrize("how", ["given up", "called off"])
def test_taken_back_is_taken_back_whatever_becomes_of_the_start(how: str, bench: Bench) -> None:
    guest = kept(bench)
    if how == "given up":
        given_up(bench, guest, "start")
    else:
        with tenant_scope(bench.house.tenant):
            operation_cancel(bench.ask(guest, "start"), actor=bench.house.actor)

    back(bench)

    assert guests_stop() == 0
    assert (bench.fresh(guest).want_power, bench.fresh(guest).seen_power) == (Power.RUNNING, Power.RUNNING)
    assert not Drift.objects.exists()


def test_a_second_one_that_is_called_off_takes_the_first_back_too(bench: Bench) -> None:
    guest = kept(bench)
    with tenant_scope(bench.house.tenant):
        operation_cancel(bench.ask(guest, "stop"), actor=bench.house.actor)

    back(bench)

    assert guests_stop() == 0
    assert bench.fresh(guest).want_power == Power.RUNNING


def test_what_somebody_started_on_a_host_that_was_away_is_shown_and_not_stopped(bench: Bench) -> None:
    """L5. Nobody asked for a Stop of it meanwhile."""
    guest = bench.guest(Power.STOPPED)
    gone_silent(bench)
    bench.on_host.happen(str(guest.pk), Power.RUNNING, "booted")

    back(bench)

    assert guests_stop() == 0
    assert Drift.objects.filter(kind="other_power").exists()


def test_its_page_says_so_and_how_it_is_taken_back(bench: Bench) -> None:
    guest = kept(bench)

    page = browser(bench.house.owner).get(f"/t/{bench.house.tenant.slug}/machines/{guest.pk}/")

    said = page.content.decode()
    assert page.status_code == 200
    assert "It is stopped once the host is back." in said
    assert "Start takes that back." in said
