"""``want_power`` has one writer, which moves the counter of running machines with it."""

from __future__ import annotations

import ast

import pytest

from operations.models import Operation
from portal.core.errors import OverQuota
from tenants.models import Quota
from tenants.scoping import tenant_scope
from tenants.services.quota import quota_set, quota_verify
from tests import factories
from tests.architecture.sources import modules
from tests.factories import House
from vms.models import Guest
from vms.services.guests import guest_delete, guest_power
from vms.services.guests.wanting import WISH
from vms.states import Power

WRITER = "vms/services/guests/wanting.py"


@pytest.mark.parametrize("column", WISH)
def test_nobody_else_sets_the_wish(column: str) -> None:
    """A new machine's is set with its row, and paid for in the same reservation."""
    writers = {
        path
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute) and target.attr == column
    }

    assert writers == {WRITER}


@pytest.fixture
def house(db: None) -> House:
    return factories.tenant_with_owner()


def running(house: House) -> int:
    return Quota.objects.get(tenant=house.tenant, resource="running_guests").used


def limit(house: House, most: int | None) -> None:
    with tenant_scope(house.tenant):
        quota_set(house.tenant, {"running_guests": most}, actor=factories.desk())


def ask(house: House, guest: Guest, action: str) -> Operation:
    with tenant_scope(house.tenant):
        return guest_power(guest, action, actor=house.actor)


def do(house: House, guest: Guest, action: str, seen: Power) -> None:
    """Asked for, done by the host, reported."""
    operation = ask(house, guest, action)
    factories.guest_seen(guest, seen)
    factories.operation_done(operation)


def fail(house: House, operation: Operation) -> None:
    with tenant_scope(house.tenant):
        factories.operation_broken(operation)


def test_one_more_than_may_run_is_not_started_and_may_be_made_stopped(house: House) -> None:
    limit(house, 1)
    first = factories.guest(house)
    second = factories.guest(house, power=Power.STOPPED)
    with pytest.raises(OverQuota):
        factories.guest_building(house)

    with pytest.raises(OverQuota):
        ask(house, second, "start")
    second.refresh_from_db()
    assert second.want_power == Power.STOPPED
    do(house, first, "stop", Power.STOPPED)
    do(house, second, "start", Power.RUNNING)

    assert running(house) == 1
    assert quota_verify() == []


def test_a_pause_frees_nothing_and_a_suspension_does(house: House) -> None:
    guest = factories.guest(house)

    do(house, guest, "pause", Power.PAUSED)
    assert running(house) == 1
    do(house, guest, "suspend", Power.SUSPENDED)
    assert running(house) == 0


def test_what_its_owner_starts_from_outside_counts_though_it_is_too_many(house: House) -> None:
    guest = factories.guest(house, power=Power.STOPPED)
    limit(house, 0)

    factories.guest_seen(guest, Power.RUNNING)
    assert running(house) == 1
    factories.guest_seen(guest, Power.CRASHED)
    assert running(house) == 1
    factories.guest_seen(guest, Power.STOPPED)

    assert running(house) == 0
    assert quota_verify() == []


def test_a_machine_that_will_not_stop_keeps_its_place(house: House) -> None:
    """P-B10: asked to stop again and again, it makes no room for others beside it."""
    limit(house, 1)
    stubborn = factories.guest(house)
    other = factories.guest(house, power=Power.STOPPED)

    for action in ("shutdown", "stop", "suspend"):
        operation = ask(house, stubborn, action)
        with pytest.raises(OverQuota):
            ask(house, other, "start")
        fail(house, operation)
        assert running(house) == 1

    do(house, stubborn, "stop", Power.STOPPED)
    do(house, other, "start", Power.RUNNING)
    assert running(house) == 1
    assert quota_verify() == []


@pytest.mark.parametrize("purge", [False, True], ids=["to the bin", "for good"])
def test_a_machine_that_is_being_deleted_counts_until_it_is_off(house: House, purge: bool) -> None:
    guest = factories.guest(house)
    with tenant_scope(house.tenant):
        operation = guest_delete(guest, actor=house.actor, purge=purge)
    assert running(house) == 1
    fail(house, operation)
    assert running(house) == 1

    with tenant_scope(house.tenant):
        factories.operation_done(guest_delete(guest, actor=house.actor, purge=purge))

    assert running(house) == 0
    assert quota_verify() == []


@pytest.mark.parametrize(("back", "counts"), [(Power.RUNNING, 1), (Power.STOPPED, 0)], ids=["still on", "off"])
def test_a_stop_that_ends_in_silence_counts_until_the_host_is_heard(house: House, back: Power, counts: int) -> None:
    guest = factories.guest(house)
    operation = ask(house, guest, "shutdown")

    factories.guest_seen(guest, Power.UNKNOWN)
    fail(house, operation)
    assert running(house) == 1
    factories.guest_seen(guest, back)

    assert running(house) == counts
    assert quota_verify() == []


@pytest.mark.parametrize(("back", "counts"), [(Power.RUNNING, 1), (Power.STOPPED, 0)], ids=["on after all", "off"])
def test_a_start_that_ends_in_silence_counts_until_the_host_is_heard(house: House, back: Power, counts: int) -> None:
    guest = factories.guest(house, power=Power.STOPPED)
    operation = ask(house, guest, "start")

    factories.guest_seen(guest, Power.UNKNOWN)
    fail(house, operation)
    assert running(house) == 1
    factories.guest_seen(guest, back)

    guest.refresh_from_db()
    assert (running(house), guest.want_power) == (counts, Power.STOPPED)
    assert quota_verify() == []


def test_what_is_wanted_on_counts_while_its_host_is_silent(house: House) -> None:
    guest, off = factories.guest(house), factories.guest(house, power=Power.STOPPED)

    for one in (guest, off):
        factories.guest_seen(one, Power.UNKNOWN)

    assert running(house) == 1
