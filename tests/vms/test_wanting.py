"""``want_power`` has one writer, which moves the counter of running machines with it."""

from __future__ import annotations

import ast

import pytest

from portal.core.errors import OverQuota
from tenants.models import Quota
from tenants.scoping import tenant_scope
from tenants.services.quota import quota_set, quota_verify
from tests import factories
from tests.architecture.sources import modules
from tests.factories import House
from vms.models import Guest
from vms.services.guests import guest_power
from vms.states import Power

WRITER = "vms/services/guests/wanting.py"


def test_nobody_else_sets_the_wish() -> None:
    """A new machine's is set with its row, and paid for in the same reservation."""
    writers = {
        path
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute) and target.attr == "want_power"
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


def ask(house: House, guest: Guest, action: str) -> None:
    with tenant_scope(house.tenant):
        operation = guest_power(guest, action, actor=house.actor)
        factories.operation_done(operation)


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
    ask(house, first, "stop")
    ask(house, second, "start")

    assert running(house) == 1
    assert quota_verify() == []


def test_a_pause_frees_nothing_and_a_suspension_does(house: House) -> None:
    guest = factories.guest(house)

    ask(house, guest, "pause")
    assert running(house) == 1
    factories.guest_seen(guest, Power.PAUSED)
    ask(house, guest, "suspend")
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


def test_a_stop_that_failed_counts_again_though_another_took_its_place(house: House) -> None:
    limit(house, 1)
    guest = factories.guest(house)
    with tenant_scope(house.tenant):
        operation = guest_power(guest, "shutdown", actor=house.actor)
    factories.guest(house)

    with tenant_scope(house.tenant):
        factories.operation_broken(operation)

    assert running(house) == 2
    with pytest.raises(OverQuota):
        factories.guest_building(house)
    assert quota_verify() == []
