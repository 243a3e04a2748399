"""Machines with several cards: attached and detached whatever happens, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from operations.models import Operation
from operations.runner import run
from portal.core.errors import Conflict, Invalid, OverQuota
from tenants.models import Quota
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.vms.reconcile.bench import Bench
from vms.hypervisor.errors import NoSlot, Refused
from vms.models import Address, Guest, Network, Port
from vms.names import network_name
from vms.selectors.installation import installation_owner
from vms.services.guests import guest_create
from vms.services.ports import port_attach, port_detach
from vms.specs import GuestSpec
from vms.states import Power


def attach(bench: Bench, guest: Guest, network: Network, ip: str = "") -> Operation:
    with tenant_scope(bench.house.tenant):
        return port_attach(guest, network, actor=bench.house.actor, ip=ip)


def detach(bench: Bench, guest: Guest, network: Network) -> Operation:
    with tenant_scope(bench.house.tenant):
        port = Port.objects.select_related("guest").get(guest=guest, network=network)
        return port_detach(port, actor=bench.house.actor)


def first_of(guest: Guest) -> Network:
    with every_tenant(why="test"):
        return Network.objects.get(ports__guest=guest, ports__position=0)


def wish_in(network: Network, last: int) -> str:
    with every_tenant(why="test"):
        return network.subnets.get().cidr.replace("0/24", str(last))


def ips(guest: Guest) -> list[str]:
    with every_tenant(why="test"):
        return list(Address.objects.filter(port__guest=guest).order_by("port__position").values_list("ip", flat=True))


def macs(guest: Guest) -> list[str]:
    with every_tenant(why="test"):
        return list(Port.objects.filter(guest=guest).order_by("position").values_list("mac", flat=True))


def used(bench: Bench, resource: str) -> int:
    return Quota.objects.get(tenant=bench.house.tenant, resource=resource).used


def is_on_host(bench: Bench, network: Network) -> bool:
    with every_tenant(why="test"):
        return network_name(installation_owner(), network.pk) in bench.on_host.networks


@pytest.mark.parametrize("power", [Power.RUNNING, Power.STOPPED])
def test_a_card_comes_with_the_address_that_was_asked_for_and_goes_without_a_trace(bench: Bench, power: Power) -> None:
    guest, back = bench.guest(power), factories.network(bench.house, "back")
    before, wish = (used(bench, "ports"), used(bench, "addresses")), wish_in(back, 77)

    assert run(attach(bench, guest, back, wish).pk) == "succeeded"
    assert (ips(guest)[1], macs(guest)[1][:5]) == (wish, "52:56")
    assert (used(bench, "ports"), used(bench, "addresses")) == (before[0] + 1, before[1] + 1)
    assert bench.findings() == []

    assert run(detach(bench, guest, back).pk) == "succeeded"
    assert (len(ips(guest)), is_on_host(bench, back)) == (1, False)
    assert (used(bench, "ports"), used(bench, "addresses")) == before
    assert bench.findings() == []


def test_a_machine_without_its_first_card_gets_one_again_in_its_place(bench: Bench) -> None:
    guest, back = bench.guest(), factories.network(bench.house, "back")
    first = first_of(guest)
    assert run(attach(bench, guest, back).pk) == "succeeded"

    assert run(detach(bench, guest, first).pk) == "succeeded"
    assert run(attach(bench, guest, first).pk) == "succeeded"

    assert (first_of(guest).pk, [mac[:5] for mac in macs(guest)]) == (first.pk, ["52:54", "52:56"])
    assert bench.findings() == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_card_that_cannot_be_plugged_in_gives_back_all_that_it_held(bench: Bench, after: bool) -> None:
    guest, back = bench.guest(), factories.network(bench.house, "back")
    before = used(bench, "ports")
    bench.on_host.fail("attach_card", Refused("no") if after else NoSlot("no slot"), after=after)

    operation = attach(bench, guest, back)
    assert run(operation.pk) == "failed"
    bench.settle()

    operation.refresh_from_db()
    assert operation.error_code == ("host_refused" if after else "no_slot")
    assert (len(ips(guest)), used(bench, "ports"), is_on_host(bench, back)) == (1, before, False)
    assert bench.findings() == []


def test_a_machine_that_does_not_let_go_has_the_card_as_before(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setattr("vms.handlers.cards.LET_GO_S", 0.05)
    guest, back = bench.guest(), factories.network(bench.house, "back")
    assert run(attach(bench, guest, back).pk) == "succeeded"
    bench.on_host.deaf = True

    operation = detach(bench, guest, back)
    assert run(operation.pk) == "failed"

    operation.refresh_from_db()
    assert (operation.error_code, len(ips(guest))) == ("still_in_use", 2)
    assert bench.findings() == []


def test_what_a_machine_cannot_have_is_refused_and_holds_nothing(bench: Bench) -> None:
    guest, back = bench.guest(), factories.network(bench.house, "back")
    first, before = first_of(guest), used(bench, "addresses")
    refused = []
    for network, ip in ((first, ""), (back, wish_in(back, 1)), (back, "10.9.9.9"), (back, "; reboot")):
        with pytest.raises(Conflict) as refusal:
            attach(bench, guest, network, ip)
        refused.append(refusal.value.code)
    assert refused == ["on_network", "invalid_address", "invalid_address", "invalid_address"]

    other = bench.guest()
    assert run(attach(bench, other, back).pk) == "succeeded"
    with pytest.raises(Conflict) as refusal:
        attach(bench, guest, back, ips(other)[1])
    assert refusal.value.code == "address_taken"

    Quota.objects.filter(tenant=bench.house.tenant, resource="guest_ports").update(limit=1)
    with pytest.raises(OverQuota):
        attach(bench, guest, back)
    assert used(bench, "addresses") == before + 2
    assert bench.findings() == []


def test_a_machine_is_made_with_several_cards_and_told_to_set_them_all_up(bench: Bench) -> None:
    front, back = factories.network(bench.house, "front"), factories.network(bench.house, "back")
    wish = wish_in(back, 9)
    spec = GuestSpec("web", bench.flavor, bench.image, networks=(front, back), ips=("", wish))
    with tenant_scope(bench.house.tenant):
        operation = guest_create(bench.house.tenant, spec, actor=bench.house.actor)
        guest = Guest.objects.get(pk=operation.subject_id)
    assert run(operation.pk) == "succeeded"

    assert ips(guest)[1] == wish
    (seed,) = [content for place, content in bench.on_host.sent.items() if f"seed-{guest.pk.hex}" in place]
    begin = seed.index(b"ethernets:")
    told = yaml.safe_load(seed[begin : seed.index(b"\x00", begin)].decode())
    assert [card["match"]["macaddress"] for card in told["ethernets"].values()] == macs(guest)
    assert all(card["dhcp4"] for card in told["ethernets"].values())
    assert bench.findings() == []


@pytest.mark.parametrize(("ips_wished", "count"), [(("", "10.128.0.9"), 1), (("10.128.0.9",), 2)])
def test_more_addresses_than_cards_or_one_for_several_machines_are_refused(
    bench: Bench, ips_wished: tuple[str, ...], count: int
) -> None:
    spec = GuestSpec("web", bench.flavor, bench.image, ips=ips_wished, count=count)

    with pytest.raises(Invalid) as refusal, tenant_scope(bench.house.tenant):
        guest_create(bench.house.tenant, spec, actor=bench.house.actor)

    assert [fault.pointer for fault in refusal.value.errors] == ["/ips"]
