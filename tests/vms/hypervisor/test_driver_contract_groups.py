"""What every driver promises of the filters of groups and cards; tried on the host in memory and on a real libvirtd."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.vms.hypervisor.conftest import World
from vms.firewall import Direction, Protocol, Rule
from vms.hypervisor.errors import HypervisorError, Refused
from vms.hypervisor.filters import guest_filter
from vms.hypervisor.groups import group_filter, port_filter
from vms.hypervisor.xml.devices import FilterRef, Nic
from vms.hypervisor.xml.network import DhcpHost
from vms.hypervisor.xml.nwfilter import FilterSpec

CARD = DhcpHost(mac="52:54:00:00:00:0a", ip="10.93.0.10")
NET, GROUP, PORT = "gh-contract-f", "gh-contract-g", "gh-contract-p"
RULES = (
    Rule(direction=Direction.IN, protocol=Protocol.TCP, ports=(22, 22)),
    Rule(direction=Direction.IN, protocol=Protocol.TCP, ports=(8000, 8999), cidr="10.93.0.0/25"),
    Rule(direction=Direction.IN, protocol=Protocol.UDP, ports=(53, 53), group="other"),
    Rule(direction=Direction.IN, protocol=Protocol.ICMP, cidr="0.0.0.0/0"),
    Rule(direction=Direction.IN, protocol=Protocol.ICMP, cidr="10.93.0.7/32"),
    Rule(direction=Direction.OUT),
)
MEMBERS = {"other": ["10.93.0.20", "10.93.0.3", "10.93.0.2"]}


def three() -> tuple[FilterSpec, FilterSpec, FilterSpec]:
    return (
        guest_filter(name=NET, subnet="10.93.0.0/24", gateway="10.93.0.1", forbidden=["203.0.113.0/24"]),
        group_filter(name=GROUP, rules=RULES, members=MEMBERS),
        port_filter(name=PORT, network=NET, groups=[GROUP], gateway="10.93.0.1"),
    )


def test_what_was_put_there_is_read_back(world: World):
    for spec in three():
        assert world.hypervisor.filter(spec.name) is None

        world.hypervisor.ensure_filter(spec)

        seen = world.hypervisor.filter(spec.name)
        assert seen is not None
        assert seen.meaning() == spec.meaning()


def test_a_change_is_seen(world: World):
    _net, group, _port = three()
    world.hypervisor.ensure_filter(group)

    less = replace(group, rules=group.rules[1:])
    world.hypervisor.ensure_filter(less)

    seen = world.hypervisor.filter(GROUP)
    assert seen is not None
    assert seen.meaning() == less.meaning() != group.meaning()


def test_what_a_running_machines_card_stands_on_is_not_removed(world: World):
    world.hypervisor.ensure_network(world.network(hosts=(CARD,)))
    for each in three():
        world.hypervisor.ensure_filter(each)
    nic = Nic(mac=CARD.mac, network="gh-contract-n", filter=FilterRef(name=PORT, ip=CARD.ip))
    spec = world.defined(nics=(nic,))
    world.hypervisor.start(spec.uuid)

    for name in (NET, GROUP, PORT):
        with pytest.raises(Refused):
            world.hypervisor.remove_filter(name)
        assert world.hypervisor.filter(name) is not None

    world.hypervisor.pull_plug(spec.uuid)
    for name in (PORT, GROUP, NET):
        world.hypervisor.remove_filter(name)
    assert not {PORT, GROUP, NET} & set(world.hypervisor.filters())


def test_a_card_cannot_start_on_a_group_that_is_not_there(world: World):
    world.hypervisor.ensure_network(world.network(hosts=(CARD,)))
    net, _group, port = three()
    for each in (net, port):
        world.hypervisor.ensure_filter(each)
    nic = Nic(mac=CARD.mac, network="gh-contract-n", filter=FilterRef(name=PORT, ip=CARD.ip))
    spec = world.defined(nics=(nic,))

    with pytest.raises(HypervisorError):
        world.hypervisor.start(spec.uuid)

    seen = world.hypervisor.domain(spec.uuid)
    assert seen is not None
    assert seen.power == "stopped"


def test_addresses_beside_each_other_are_told_as_one():
    rule = Rule(direction=Direction.IN, group="other")
    members = {"other": [f"10.93.0.{number}" for number in (*range(16, 32), 33)]}

    spec = group_filter(name=GROUP, rules=[rule], members=members)

    assert [dict(each.match) for each in spec.rules] == [
        {"srcipaddr": "10.93.0.16", "srcipmask": "28"},
        {"srcipaddr": "10.93.0.33"},
    ]
