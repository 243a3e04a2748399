"""What every driver promises of who is on a network; tried on the host in memory and on a real libvirtd."""

from __future__ import annotations

import pytest

from tests.vms.hypervisor.conftest import OWNER, STRANGER, World
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.xml.network import DhcpHost, DnsName

NET = "gh-contract-n"
FIRST = DhcpHost(mac="52:54:0a:5d:00:0a", ip="10.93.0.10")
SECOND = DhcpHost(mac="52:54:0a:5d:00:0b", ip="10.93.0.11")


def test_a_machine_is_known_by_its_address_and_its_name_and_forgotten_again(world: World):
    hv = world.hypervisor
    hv.ensure_network(world.network(hosts=(FIRST, SECOND), domain="lan.internal"))

    for _twice in range(2):
        hv.introduce(NET, host=FIRST, name="web", owner=OWNER)
    hv.introduce(NET, host=SECOND, name="db", owner=OWNER)
    seen = hv.members(NET)
    assert seen.hosts == {FIRST, SECOND}
    assert seen.names == {DnsName(ip=FIRST.ip, name="web"), DnsName(ip=SECOND.ip, name="db")}

    for _twice in range(2):
        hv.forget(NET, FIRST.ip, owner=OWNER)
    assert hv.members(NET).names == {DnsName(ip=SECOND.ip, name="db")}
    assert hv.members(NET).hosts == {FIRST, SECOND}


def test_a_name_or_an_address_that_goes_to_another_is_the_others_alone(world: World):
    hv = world.hypervisor
    hv.ensure_network(world.network(hosts=(FIRST, SECOND)))
    hv.introduce(NET, host=FIRST, name="web", owner=OWNER)

    hv.introduce(NET, host=SECOND, name="web", owner=OWNER)
    assert hv.members(NET).names == {DnsName(ip=SECOND.ip, name="web")}

    hv.introduce(NET, host=SECOND, name="renamed", owner=OWNER)
    assert hv.members(NET).names == {DnsName(ip=SECOND.ip, name="renamed")}

    other = DhcpHost(mac=FIRST.mac, ip=SECOND.ip)
    hv.introduce(NET, host=other, name="", owner=OWNER)
    assert hv.members(NET).hosts == {other}
    assert hv.members(NET).names == {DnsName(ip=SECOND.ip, name="renamed")}


def test_names_stay_when_nothing_else_of_a_network_changes_and_go_with_its_shape(world: World):
    hv = world.hypervisor
    hv.ensure_network(world.network(hosts=(FIRST,)))
    hv.introduce(NET, host=FIRST, name="web", owner=OWNER)

    hv.ensure_network(world.network(hosts=(FIRST,)))
    assert hv.members(NET).names == {DnsName(ip=FIRST.ip, name="web")}

    names = (DnsName(ip=FIRST.ip, name="db"),)
    hv.ensure_network(
        world.network(
            hosts=(FIRST,), names=names, domain="lan.internal", dns=("9.9.9.9",), routes=(("9.9.9.0/24", "10.93.0.1"),)
        )
    )
    assert hv.members(NET).names == set(names)


def test_nobody_is_introduced_to_a_network_that_is_not_there_or_not_ours(world: World):
    hv = world.hypervisor
    with pytest.raises(Missing):
        hv.members(NET)
    with pytest.raises(Missing):
        hv.introduce(NET, host=FIRST, name="web", owner=OWNER)
    hv.forget(NET, FIRST.ip, owner=OWNER)

    hv.ensure_network(world.network(hosts=(FIRST,)))
    hv.introduce(NET, host=FIRST, name="web", owner=OWNER)
    with pytest.raises(Refused):
        hv.introduce(NET, host=FIRST, name="mine", owner=STRANGER)
    with pytest.raises(Refused):
        hv.forget(NET, FIRST.ip, owner=STRANGER)

    assert hv.members(NET).names == {DnsName(ip=FIRST.ip, name="web")}
