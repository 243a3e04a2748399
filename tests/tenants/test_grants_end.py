"""A grant until a date ends by itself, and nothing that runs ends with it, whatever beat does afterwards."""

from __future__ import annotations

from datetime import timedelta

import pytest

from operations.models import Operation
from portal.celery import app
from portal.core.clock import now
from portal.core.errors import OverQuota
from portal.schedule import SCHEDULE
from tenants.models import Quota
from tenants.scoping import tenant_scope
from tenants.services.quota import quota_request_approve, quota_request_make, quota_set, quota_verify
from tests import factories
from tests.factories import House
from vms.models import Guest
from vms.services.guests import guest_power
from vms.states import Power

pytestmark = pytest.mark.django_db
GRANTED = ("guests", "running_guests", "vcpus", "memory_mib")


def beat() -> None:
    """Everything that is done again and again, once, as a worker does it."""
    app.loader.import_default_modules()
    for entry in SCHEDULE.values():
        app.tasks[entry["task"]].apply(throw=True)


def limit(house: House, soft: dict[str, int | None] | None = None, **limits: int) -> None:
    with tenant_scope(house.tenant):
        quota_set(house.tenant, limits, soft=soft, actor=factories.desk())


@pytest.fixture
def over() -> House:
    """A tenant with three machines running by a grant that has ended; one would be allowed."""
    house = factories.tenant_with_owner(
        "festive", limits={"guests": 1, "running_guests": 1, "vcpus": 1, "memory_mib": 256}
    )
    with tenant_scope(house.tenant):
        wanted = {name: 3 if name != "memory_mib" else 768 for name in GRANTED}
        request = quota_request_make(house.tenant, wanted, reason="A sale.", actor=house.actor)
    quota_request_approve(request, until=now() + timedelta(days=3), actor=factories.desk())
    for _ in range(3):
        factories.guest(house)
    Quota.objects.filter(grant_until__isnull=False).update(grant_until=now() - timedelta(seconds=1))
    return house


def states(house: House) -> list[tuple[str, str]]:
    with tenant_scope(house.tenant):
        return [(guest.want_power, guest.seen_power) for guest in Guest.objects.all()]


def test_what_runs_goes_on_and_nothing_is_added(over: House) -> None:
    before = Operation.objects.count()

    beat()

    assert states(over) == [(Power.RUNNING, Power.RUNNING)] * 3
    assert Operation.objects.count() == before
    assert dict(Quota.objects.filter(tenant=over.tenant, resource__in=GRANTED).values_list("resource", "used")) == {
        "guests": 3, "running_guests": 3, "vcpus": 3, "memory_mib": 768,
    }  # fmt: skip
    with pytest.raises(OverQuota) as refusal:
        factories.guest_building(over)
    assert {error.pointer for error in refusal.value.errors} >= {f"/quota/{name}" for name in GRANTED}
    assert quota_verify() == []


def test_what_runs_may_still_be_paused_and_restarted_in_place_but_not_started_anew(over: House) -> None:
    with tenant_scope(over.tenant):
        first, second, _third = Guest.objects.all()
        for action, seen in (("reboot", Power.RUNNING), ("pause", Power.PAUSED), ("resume", Power.RUNNING)):
            operation = guest_power(first, action, actor=over.actor)
            factories.guest_seen(first, seen)
            factories.operation_done(operation)
        operation = guest_power(second, "stop", actor=over.actor)
        factories.guest_seen(second, Power.STOPPED)
        factories.operation_done(operation)

        with pytest.raises(OverQuota):
            guest_power(second, "start", actor=over.actor)


def test_a_grants_end_over_a_soft_limit_begins_the_grace_and_stops_nothing(over: House) -> None:
    limit(over, {"guests": 1}, guests=5)

    Quota.objects.filter(soft_since__isnull=False).update(soft_since=now() - timedelta(days=90))
    Quota.objects.filter(grant_until__isnull=False).update(grant_until=now() - timedelta(days=60))
    beat()

    assert states(over) == [(Power.RUNNING, Power.RUNNING)] * 3
    with pytest.raises(OverQuota):
        factories.guest_building(over)
