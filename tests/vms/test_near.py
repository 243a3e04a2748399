"""Machines of one network are put where they meet, as long as there is room."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.vms.test_placement import SMALL, room
from tests.vms.test_placing import host_for, made, refused, spec
from vms.models import Fabric, Host, HostPool
from vms.placement import Rule, choose, plan_many
from vms.services.networks import network_create
from vms.specs import NetworkWish


def test_the_next_goes_where_others_are_until_there_is_no_room() -> None:
    here, there = (UUID(int=number) for number in (71, 72))
    rooms = [room(1, segment=here, claimed_memory_mib=6144), room(2, segment=there)]

    assert choose(rooms, SMALL).room == rooms[1]
    near = replace(SMALL, near=frozenset({here}))
    assert [pk.int for pk in plan_many(rooms, near, 3).hosts] == [1, 1, 2]
    asunder = Rule("apart", hosts=frozenset({UUID(int=1)}))
    assert [pk.int for pk in plan_many(rooms, near, 1, rule=asunder).hosts] == [2], "what people ask for comes first"


@pytest.fixture
def house(db: None) -> House:
    return factories.tenant_with_owner()


def test_a_projects_machines_meet_and_anothers_go_elsewhere(house: House) -> None:
    for name in ("a", "b"):
        host_for(3, name)

    assert made(house, spec("first")) == ["a"]
    assert made(factories.tenant_with_owner(), spec("other")) == ["b"]
    assert made(house, spec("batch", 3)) == ["a", "a", "b"]


def test_a_fabric_without_a_way_out_takes_no_machine_whose_network_leads_outwards(house: House) -> None:
    host = host_for(2)
    fabric = Fabric.objects.create(
        name="f", northbound="unix:/run/nb", southbound="unix:/run/sb", joined=[str(host.pk)]
    )
    Host.objects.update(pool=HostPool.objects.create(name="woven", fabric=fabric))
    with tenant_scope(house.tenant):
        inner = network_create(house.tenant, NetworkWish(name="inner", outward="isolated"), actor=house.actor)

    assert refused(house, spec("web")) == "No host in service has a way out for networks that lead outwards."
    assert made(house, replace(spec("web"), networks=(inner,))) == [host.name]


def test_on_a_fabric_machines_meet_on_all_of_its_hosts(house: House) -> None:
    for name in ("a", "b", "c"):
        host_for(2, name)
    fabric = Fabric.objects.create(name="f", northbound="unix:/run/nb", southbound="unix:/run/sb")
    fabric.physnet, fabric.outer_address, fabric.outer_gateway = "public", "192.0.2.5/24", "192.0.2.1"
    fabric.joined = [str(pk) for pk in Host.objects.exclude(name="a").values_list("pk", flat=True)]
    fabric.save()
    pool = HostPool.objects.create(name="woven", fabric=fabric)
    Host.objects.exclude(name="a").update(pool=pool)
    Host.objects.filter(name="a").update(maintenance=True)

    assert made(house, spec("first")) == ["b"]
    Host.objects.filter(name="a").update(maintenance=False)
    assert made(house, spec("second", 2)) == ["b", "c"], "a is empty, but nobody of the network is there"
