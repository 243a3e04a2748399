"""What many ask for at the same moment each of them gets, where there is enough of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenants.scoping import every_tenant, tenant_scope
from tenants.services.quota import RESOURCES
from tests import factories
from tests.support.crowd import together
from vms.models import Address, AddressUse, Guest, Port, Subnet
from vms.services.guests import guest_create, guest_edit
from vms.services.ports import port_attach
from vms.specs import GuestSpec

pytestmark = pytest.mark.django_db(transaction=True)
CLIENTS = 12


def test_first_machines_of_many_tenants_and_more_of_an_old_one_are_made() -> None:
    """Two took the same range, and one of them got an error of ours; or they and the old tenant's waited for each other."""
    factories.host_up()
    flavor, image = factories.flavor("small"), factories.image()
    old = factories.tenant_with_owner()
    factories.guest(old, flavor=flavor, image=image)
    fresh = [factories.tenant_with_owner() for _ in range(CLIENTS)]

    def make(house: factories.House, number: int) -> Callable[[], None]:
        def go() -> None:
            with tenant_scope(house.tenant):
                guest_create(house.tenant, GuestSpec(f"g{number}", flavor, image), actor=house.actor)

        return go

    answers = together([make(house, n) for n, house in enumerate([*fresh, *[old] * 5])])

    assert answers == [None] * (CLIENTS + 5)
    with every_tenant(why="test"):
        assert len(set(Subnet.objects.values_list("cidr", flat=True))) == CLIENTS + 1
        assert Guest.objects.count() == CLIENTS + 6


def test_cards_that_come_at_once_never_share_an_address() -> None:
    factories.host_up()
    house = factories.tenant_with_owner(limits=dict.fromkeys(RESOURCES))
    flavor, image = factories.flavor("small"), factories.image()
    first, back = factories.network(house, "first"), factories.network(house, "back")
    guests = [factories.guest(house, flavor=flavor, image=image, networks=(first,)) for _ in range(8)]

    def plug(guest: Guest) -> Callable[[], None]:
        def go() -> None:
            with tenant_scope(house.tenant):
                port_attach(guest, back, actor=house.actor)

        return go

    def make(number: int) -> Callable[[], None]:
        def go() -> None:
            with tenant_scope(house.tenant):
                guest_create(
                    house.tenant, GuestSpec(f"new{number}", flavor, image, networks=(back,)), actor=house.actor
                )

        return go

    assert together([*map(plug, guests), *map(make, range(8))]) == [None] * 16
    with every_tenant(why="test"):
        held = list(Address.objects.filter(port__network=back).values_list("ip", flat=True))
        macs = Port.objects.filter(network=back).values_list("mac", flat=True)
        assert len(held) == len(set(held)) == len(set(macs)) == 16
        assert sorted(AddressUse.objects.filter(network_id=back.pk).values_list("ip", flat=True)) == sorted(held)


def test_machines_given_the_same_new_tags_at_once_all_wear_them() -> None:
    house = factories.tenant_with_owner(limits={"guests": None, "vcpus": None})
    flavor, image = factories.flavor("small"), factories.image()
    guests = [factories.guest(house, flavor=flavor, image=image) for _ in range(4)]

    def wear(guest: Guest) -> Callable[[], list[str]]:
        def go() -> list[str]:
            with tenant_scope(house.tenant):
                return guest_edit(guest, actor=house.actor, tags=["db", "web"]).tag_names()

        return go

    def make(number: int) -> Callable[[], list[str]]:
        def go() -> list[str]:
            with tenant_scope(house.tenant):
                spec = GuestSpec(f"new{number}", flavor, image, tags=("db", "web"))
                made = guest_create(house.tenant, spec, actor=house.actor)
                return Guest.objects.get(pk=made.subject_id).tag_names()

        return go

    assert together([*map(wear, guests), *map(make, range(4))]) == [["db", "web"]] * 8
