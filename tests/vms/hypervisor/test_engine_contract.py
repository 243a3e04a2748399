"""What every network engine promises; tried on the host in memory, on a real libvirtd, and on a real fabric."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.vms.hypervisor.conftest import OWNER, fake_world, libvirt_world
from tests.vms.hypervisor.engines import GATEWAY, NETWORK, EngineWorld, fabric_world
from vms.firewall import Direction, Protocol, Rule
from vms.hypervisor.bridges import Bridges
from vms.hypervisor.engines import Card, Group
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.xml.network import DhcpHost, DnsName

SSH = Rule(direction=Direction.IN, protocol=Protocol.TCP, ports=(22, 22))
OUT = Rule(direction=Direction.OUT)
FRIENDS = Rule(direction=Direction.IN, protocol=Protocol.UDP, ports=(53, 60), group="friends")
GROUP = Group(
    name="gh-contract-g-web",
    rules=(SSH, OUT, FRIENDS, Rule(direction=Direction.IN, protocol=Protocol.ICMP, cidr="10.93.0.0/25")),
    members={"friends": frozenset({"10.93.0.20", "10.93.0.21", "10.93.0.40"})},
)
OTHER = Group(name="gh-contract-g-other", rules=(OUT,))
CARD = Card(
    name="gh-contract-p-a",
    network=NETWORK,
    mac="52:54:00:00:00:0a",
    ip="10.93.0.10",
    gateway=GATEWAY,
    machine="web-1",
    groups=(GROUP.name,),
)


@pytest.fixture(
    params=["fake", *(pytest.param(name, marks=pytest.mark.xdist_group("machine")) for name in ("libvirt", "ovn"))]
)
def engines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EngineWorld]:
    """One host's engine over the host in memory and a real one, and a fabric's; the real ones are cleared after each test."""
    if request.param == "ovn":
        yield from fabric_world(request.getfixturevalue("fabric"))
    else:
        world = (
            fake_world() if request.param == "fake" else libvirt_world(request.getfixturevalue("lab_host"), tmp_path)
        )
        yield EngineWorld(Bridges(world.hypervisor, OWNER), world.backstage.plant_network)
        world.clear()
        world.hypervisor.close()


def test_a_network_is_said_to_be_as_it_is_wanted(engines: EngineWorld):
    wanted = engines.wanted()
    assert not engines.net.has_network(wanted)

    engines.make(wanted)

    assert engines.net.has_network(wanted)
    other = engines.wanted(domain="other.internal")
    assert engines.net.has_network(other) is not engines.net.mends
    assert engines.net.has_network(wanted), "asking has changed it"


def test_a_network_stands_once_it_is_there_and_is_gone_once_it_is_removed(engines: EngineWorld):
    assert NETWORK not in engines.net.standing({NETWORK})

    engines.make(engines.wanted())
    engines.make(engines.wanted())

    assert NETWORK in engines.net.standing({NETWORK})
    assert [seen.name for seen in engines.net.networks() if seen.owner == engines.owner] == [NETWORK]

    for _again in range(2):
        engines.net.remove_network(NETWORK)
        engines.net.unbar(NETWORK)

    assert NETWORK not in engines.net.standing({NETWORK})
    assert [seen.name for seen in engines.net.networks() if seen.owner == engines.owner] == []


def test_a_network_is_changed_as_it_is_drawn(engines: EngineWorld):
    engines.make(engines.wanted())

    engines.make(engines.wanted(mode="isolated", dns=("10.93.0.53",), domain="elsewhere.internal"))

    assert NETWORK in engines.net.standing({NETWORK})


def test_what_is_not_ours_is_not_touched(engines: EngineWorld):
    engines.plant(NETWORK)

    with pytest.raises(Refused):
        engines.make(engines.wanted())
    with pytest.raises(Refused):
        engines.net.remove_network(NETWORK)

    assert [seen.owner for seen in engines.net.networks() if seen.name == NETWORK] == [None]


def test_what_makes_no_sense_is_refused_and_leaves_nothing(engines: EngineWorld):
    with pytest.raises(Refused):
        engines.make(replace(engines.wanted(), forbidden=("nonsense",)))

    assert engines.net.standing({NETWORK}) == frozenset()
    assert [seen.name for seen in engines.net.networks() if seen.owner == engines.owner] == []


def test_who_is_introduced_is_known_until_forgotten(engines: EngineWorld):
    with pytest.raises(Missing):
        engines.net.members(NETWORK)
    engines.make(engines.wanted())

    for _again in range(2):
        engines.net.introduce(CARD)

    seen = engines.net.members(NETWORK)
    assert DhcpHost(mac=CARD.mac, ip=CARD.ip) in seen.hosts
    assert seen.names == {DnsName(ip=CARD.ip, name="web-1")}

    for _again in range(2):
        engines.net.forget(NETWORK, CARD.ip)

    assert engines.net.members(NETWORK).names == frozenset()


def test_who_comes_anew_has_the_card_the_address_and_the_name_alone(engines: EngineWorld):
    engines.make(engines.wanted())
    engines.net.introduce(CARD)

    engines.net.introduce(replace(CARD, ip="10.93.0.11", machine="web-2"))

    seen = engines.net.members(NETWORK)
    assert {host.ip for host in seen.hosts if host.mac == CARD.mac} == {"10.93.0.11"}
    assert DnsName(ip="10.93.0.11", name="web-2") in seen.names


def test_nobody_is_introduced_where_there_is_no_network(engines: EngineWorld):
    with pytest.raises(Missing):
        engines.net.introduce(CARD)
    engines.net.forget(NETWORK, CARD.ip)
    engines.net.drop_card(CARD)


def test_what_a_group_allows_is_read_back(engines: EngineWorld):
    assert not engines.net.has_group(GROUP)

    engines.net.ensure_group(GROUP)

    assert engines.net.has_group(GROUP)
    assert GROUP.name in engines.net.guards()
    assert engines.net.guards({GROUP.name, "gh-contract-g-none"}) == {GROUP.name}


@pytest.mark.parametrize(
    "changed",
    [
        replace(GROUP, rules=GROUP.rules[1:]),
        replace(GROUP, rules=(*GROUP.rules, Rule(direction=Direction.IN, protocol=Protocol.UDP))),
        replace(GROUP, members={"friends": frozenset({"10.93.0.20"})}),
        replace(GROUP, rules=(replace(SSH, ports=(22, 23)), *GROUP.rules[1:])),
        replace(GROUP, rules=(replace(SSH, cidr="10.93.0.0/26"), *GROUP.rules[1:])),
        replace(GROUP, rules=()),
    ],
    ids=["one less", "one more", "members", "ports", "range", "none"],
)
def test_a_group_that_differs_at_all_is_told_from_it(engines: EngineWorld, changed: Group):
    engines.net.ensure_group(GROUP)

    assert not engines.net.has_group(changed)
    engines.net.ensure_group(changed)

    assert engines.net.has_group(changed)
    assert not engines.net.has_group(GROUP)


def test_a_group_goes_when_it_guards_nothing(engines: EngineWorld):
    engines.make(engines.wanted())
    engines.net.ensure_group(GROUP)
    engines.net.introduce(CARD)
    engines.net.guard(CARD)

    engines.net.drop_card(CARD)
    for _again in range(2):
        engines.net.drop_group(GROUP.name)

    assert {GROUP.name, CARD.name}.isdisjoint(engines.net.guards())


def test_a_card_is_guarded_by_its_groups_and_no_others(engines: EngineWorld):
    engines.make(engines.wanted())
    engines.net.ensure_group(GROUP)
    engines.net.ensure_group(OTHER)
    engines.net.introduce(CARD)
    assert not engines.net.is_guarded(CARD)

    engines.net.guard(CARD)

    assert engines.net.is_guarded(CARD)
    assert engines.net.needs(CARD) <= engines.net.guards()

    both = replace(CARD, groups=(OTHER.name, GROUP.name))
    assert not engines.net.is_guarded(both)
    engines.net.guard(both)

    assert engines.net.is_guarded(both)
    assert not engines.net.is_guarded(CARD)

    engines.net.unguard(CARD)

    assert not engines.net.is_guarded(both)


def test_a_card_that_is_dropped_leaves_no_name_and_no_guard(engines: EngineWorld):
    engines.make(engines.wanted())
    engines.net.ensure_group(GROUP)
    engines.net.introduce(CARD)
    engines.net.guard(CARD)

    for _again in range(2):
        engines.net.forget(NETWORK, CARD.ip)
        engines.net.drop_card(CARD)

    assert CARD.name not in engines.net.guards()
    assert engines.net.members(NETWORK).names == frozenset()


def test_a_card_is_plugged_in_by_its_own_mac(engines: EngineWorld):
    nic = engines.net.plug(CARD, model="e1000e")

    assert (nic.mac, nic.model) == (CARD.mac, "e1000e")
