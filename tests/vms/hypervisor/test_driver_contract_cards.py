"""What every driver promises of network cards; tried on the host in memory and on a real libvirtd with real QEMU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.vms.hypervisor.conftest import OWNER, STRANGER, World
from vms.hypervisor.cards import SeenCard
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.filters import guest_filter
from vms.hypervisor.xml.devices import FilterRef, Nic
from vms.hypervisor.xml.domain import DomainSpec
from vms.hypervisor.xml.network import DhcpHost

NET, FILTER = "gh-contract-n", "gh-contract-f"
NOBODY = "00000000-0000-4000-8000-000000000000"
FIRST = Nic(mac="52:54:0a:5d:00:0a", network=NET, filter=FilterRef(name=FILTER, ip="10.93.0.10"))
SECOND = Nic(mac="52:56:0a:5d:00:0b", network=NET, filter=FilterRef(name=FILTER, ip="10.93.0.11"))
SEEN = {nic.mac: SeenCard(nic.mac, NET, FILTER, nic.filter.ip) for nic in (FIRST, SECOND) if nic.filter}


def machine(world: World, *, runs: bool) -> DomainSpec:
    """On a network with one card, and room for more."""
    hosts = (DhcpHost(mac=FIRST.mac, ip="10.93.0.10"), DhcpHost(mac=SECOND.mac, ip="10.93.0.11"))
    world.hypervisor.ensure_network(world.network(hosts=hosts))
    world.hypervisor.ensure_filter(guest_filter(name=FILTER, subnet="10.93.0.0/24", gateway="10.93.0.1"))
    spec = world.defined(machine="q35", nics=(FIRST,), spare_ports=2)
    if runs:
        world.hypervisor.start(spec.uuid)
    return spec


@pytest.mark.parametrize("runs", [True, False], ids=["running", "off"])
def test_cards_come_now_and_for_the_next_start(world: World, runs: bool):
    spec, hv = machine(world, runs=runs), world.hypervisor

    for _twice in range(2):
        hv.attach_card(spec.uuid, SECOND, owner=OWNER)

    seen = hv.cards(spec.uuid)
    assert set(seen.kept) == set(SEEN.values())
    assert (seen.live is None) is not runs
    assert all(set(cards) == set(SEEN.values()) for cards in seen.everywhere())


def test_cards_go_for_the_next_start_of_one_that_is_off(world: World):
    spec, hv = machine(world, runs=False), world.hypervisor
    hv.attach_card(spec.uuid, SECOND, owner=OWNER)

    for _twice in range(2):
        hv.detach_card(spec.uuid, FIRST.mac, owner=OWNER, timeout_s=1)

    assert hv.cards(spec.uuid).kept == (SEEN[SECOND.mac],)
    hv.detach_card(NOBODY, FIRST.mac, owner=OWNER, timeout_s=1)


def test_no_card_comes_to_a_machine_that_is_not_ours_or_from_nowhere(world: World):
    spec, hv = machine(world, runs=False), world.hypervisor

    with pytest.raises(Missing):
        hv.cards(NOBODY)
    with pytest.raises(Missing):
        hv.attach_card(NOBODY, SECOND, owner=OWNER)
    with pytest.raises(Missing):
        hv.attach_card(spec.uuid, replace(SECOND, network="gh-contract-nowhere"), owner=OWNER)
    with pytest.raises(Refused):
        hv.attach_card(spec.uuid, SECOND, owner=STRANGER)
    with pytest.raises(Refused):
        hv.attach_card(spec.uuid, replace(SECOND, mac="not a mac"), owner=OWNER)
    with pytest.raises(Refused):
        hv.detach_card(spec.uuid, FIRST.mac, owner=STRANGER, timeout_s=1)

    assert hv.cards(spec.uuid).kept == (SEEN[FIRST.mac],)
