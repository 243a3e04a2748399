"""What becomes of a machine whose creation or removal did not go as asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from operations.models import Operation
from operations.services import operation_cancel
from portal.core.clock import now
from portal.core.errors import Conflict
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from vms.models import Guest, Host
from vms.services.guests import guest_delete, guest_edit, guest_power
from vms.services.guests.power import guest_actions
from vms.states import HostState, Power
from vms.tasks import empty_bins

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> factories.House:
    return factories.tenant_with_owner()


@pytest.mark.parametrize("seen", [Power.STOPPED, Power.CRASHED, Power.RUNNING])
def test_a_machine_that_was_not_built_takes_no_power_action(house: factories.House, seen: Power) -> None:
    """Its quota has been returned: started before its purge, it ran for nothing, and the purge was overtaken."""
    guest, create = factories.guest_building(house)
    with tenant_scope(house.tenant):
        factories.guest_seen(guest, seen)
        factories.operation_broken(create)
        guest.refresh_from_db()

        assert guest_actions(guest, house.actor, busy=False) == []
        with pytest.raises(Conflict) as refused:
            guest_power(guest, "stop" if seen == Power.RUNNING else "start", actor=house.actor)
        assert refused.value.code == "not_built"
        wanted = guest.want_power, guest.want_generation
        guest.refresh_from_db()
        assert (guest.want_power, guest.want_generation) == wanted


@pytest.mark.parametrize("power", [Power.RUNNING, Power.STOPPED])
def test_a_purge_called_off_leaves_a_machine_that_is_wanted(house: factories.House, power: Power) -> None:
    guest = factories.guest(house, power=power)
    assert house.actor.may(Permission.OPERATION_CANCEL)
    with tenant_scope(house.tenant):
        purge = guest_delete(guest, actor=house.actor, purge=True)
        operation_cancel(purge, actor=house.actor)

        guest.refresh_from_db()
        assert guest.want_power == power


def test_a_purge_that_fails_past_its_definition_is_still_wanted_gone(house: factories.House) -> None:
    guest = factories.guest(house)
    with tenant_scope(house.tenant):
        purge = guest_delete(guest, actor=house.actor, purge=True)
        guest.refresh_from_db()
        factories.guest_seen(guest, Power.ABSENT)
        factories.operation_broken(purge)

        guest.refresh_from_db()
        assert guest.want_power == Power.ABSENT


def test_a_purge_called_off_in_the_bin_leaves_it_there(house: factories.House) -> None:
    guest = factories.guest_binned(house)
    with tenant_scope(house.tenant):
        operation_cancel(guest_delete(guest, actor=house.actor, purge=True), actor=house.actor)

        guest.refresh_from_db()
        assert (guest.want_power, guest.binned_at is None) == (Power.ABSENT, False)


def test_what_cannot_be_purged_yet_keeps_nothing_else_in_the_bin(house: factories.House, settings: Any) -> None:
    """The oldest were asked for each time, and where they filled the batch, nobody else's turn came."""
    settings.CAPS = {**settings.CAPS, "batch": 1}
    kept, silent, due = (factories.guest_binned(house) for _ in range(3))
    with tenant_scope(house.tenant):
        guest_edit(kept, actor=house.actor, protected=True)
    host = factories.host_up()
    Host.objects.filter(pk=host.pk).update(state=HostState.DOWN)
    with every_tenant(why="test"):
        Guest.objects.filter(pk=silent.pk).update(host=host)
        Guest.objects.filter(pk=due.pk).update(purge_after=now())
        Guest.objects.exclude(pk=due.pk).update(purge_after=now() - timedelta(days=1))

    empty_bins()

    assert [o.subject_id for o in Operation.objects.filter(kind="guest.purge")] == [due.pk]


def test_what_a_failed_creation_left_is_asked_for_again_each_hour(house: factories.House) -> None:
    """Once refused by its host, it stayed there until somebody deleted the machine by hand."""
    guest, create = factories.guest_building(house, protected=True)
    with tenant_scope(house.tenant):
        factories.operation_broken(create)
        factories.operation_broken(Operation.objects.get(kind="guest.purge"))
    purges = Operation.objects.filter(kind="guest.purge", subject_id=guest.pk)
    empty_bins()
    assert purges.count() == 1, "an hour has not gone by"
    purges.update(finished_at=now() - timedelta(hours=1, seconds=1))

    empty_bins()
    empty_bins()
    assert purges.filter(status="queued").count() == 1
    factories.operation_done(purges.get(status="queued"))

    empty_bins()
    assert purges.count() == 2
    with tenant_scope(house.tenant):
        assert not Guest.objects.exists()
