"""What a list shows and what a filter finds are the same word."""

from __future__ import annotations

import pytest

from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from vms.models import Guest
from vms.selectors.guests import GuestFilters, guest_counts, guest_rows
from vms.services.guests import guest_delete, guest_power
from vms.states import GuestStatus, Power

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    """One guest of every kind."""
    house = factories.tenant_with_owner(limits=dict.fromkeys(("guests", "vcpus", "memory_mib", "disk_gib"), None))
    for power in (Power.RUNNING, Power.STOPPED, Power.PAUSED, Power.SUSPENDED, Power.CRASHED, Power.UNKNOWN):
        factories.guest(house, power.value, power=power)
    factories.guest_building(house, "building")
    factories.guest_binned(house, "binned")
    with tenant_scope(house.tenant):
        guest_delete(factories.guest(house, "deleting"), actor=house.actor)
        guest_power(factories.guest(house, "starting", power=Power.STOPPED), "start", actor=house.actor)
        _guest, operation = factories.guest_building(house, "failed")
        factories.operation_broken(operation)
        purge = factories.guest_binned(house, "purging")
        guest_delete(purge, actor=house.actor, purge=True)
    return house


def test_filters_and_counts_agree_with_what_is_shown(house: House) -> None:
    with tenant_scope(house.tenant):
        everything = guest_rows(house.actor, GuestFilters(status=tuple(GuestStatus))).items
        counts = guest_counts(house.actor)
        found = {status: guest_rows(house.actor, GuestFilters(status=(status,))).items for status in GuestStatus}
        total = Guest.objects.count()

    assert len(everything) == total
    for status in GuestStatus:
        shown = sorted(row.guest.name for row in everything if row.status == status)
        assert sorted(row.guest.name for row in found[status]) == shown
        assert counts[status] == len(shown)
    assert counts[GuestStatus.DELETING] == 2
    assert counts[GuestStatus.BINNED] == 1


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"q": "stop"}, ["stopped"]),
        ({"name": "running"}, ["running"]),
        ({"flavor": "small", "status": (GuestStatus.PAUSED,)}, ["paused"]),
        ({"flavor": "absent"}, []),
        ({"tag": "nothing"}, []),
        ({"network": "private", "name": "running"}, ["running"]),
    ],
    ids=str,
)
def test_filters_find(house: House, filters: dict[str, object], names: list[str]) -> None:
    with tenant_scope(house.tenant):
        rows = guest_rows(house.actor, GuestFilters(**filters)).items  # type: ignore[arg-type]

    assert [row.guest.name for row in rows] == names


def test_a_guest_is_found_by_its_address(house: House) -> None:
    with tenant_scope(house.tenant):
        guest = Guest.objects.get(name="running")
        ip = guest.ports.get().addresses.get().ip
        rows = guest_rows(house.actor, GuestFilters(q=ip)).items

    assert [row.guest.name for row in rows] == ["running"]
