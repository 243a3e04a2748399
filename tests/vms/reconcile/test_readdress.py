"""A card gets another address: row, host, name and history change together, and no address is two machines' at once."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network

import pytest

from operations.models import Operation
from operations.runner import run
from portal.core.clock import now
from portal.core.errors import Conflict
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.portal.api.rest import Rest
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.test_ports import attach, first_of, ips, macs, wish_in
from tests.vms.reconcile.test_security_groups import card, machine, made
from vms.firewall import Direction, Rule
from vms.hypervisor.errors import Refused
from vms.hypervisor.xml.network import DhcpHost, DnsName
from vms.models import AddressUse, Guest, Network, SecurityGroup
from vms.names import group_name, network_name
from vms.selectors.installation import installation_owner
from vms.services.readdress import port_readdress
from vms.services.security_groups import SELF
from vms.states import Power


def readdress(bench: Bench, guest: Guest, ip: str = "") -> Operation:
    with tenant_scope(bench.house.tenant):
        return port_readdress(card(guest), ip, actor=bench.house.actor)


def held(guest: Guest) -> list[str]:
    """The addresses that the machine's cards have, the oldest first."""
    with every_tenant(why="test"):
        rows = AddressUse.objects.filter(guest_id=guest.pk, until=None).order_by("since", "id")
        return list(rows.values_list("ip", flat=True))


def spoken(bench: Bench, guest: Guest) -> set[str]:
    """What the host lets the machine's card speak as, now and at its next start."""
    domain = bench.on_host.domains[str(guest.pk)]
    specs = (domain.spec, domain.live_spec if domain.power == Power.RUNNING else None)
    return {nic.filter.ip for spec in specs if spec is not None for nic in spec.nics if nic.filter}


def known(bench: Bench, network: Network, guest: Guest) -> tuple[set[DhcpHost], set[DnsName]]:
    spec = bench.on_host.networks[network_name(installation_owner(), network.pk)]
    assert spec is not None
    mac = macs(guest)[0]
    return {each for each in spec.hosts if each.mac == mac}, {each for each in spec.names if each.name == guest.name}


@pytest.mark.parametrize("power", [Power.RUNNING, Power.STOPPED, Power.PAUSED])
def test_row_card_dhcp_name_and_history_change_together(bench: Bench, power: Power) -> None:
    guest = bench.guest(power)
    network, (former,), mac = first_of(guest), ips(guest), macs(guest)
    wish = wish_in(network, 77)

    operation = readdress(bench, guest, wish)
    assert (ips(guest), held(guest), spoken(bench, guest)) == ([wish], [former, wish], {former})
    assert run(operation.pk) == "succeeded"

    assert (ips(guest), held(guest), spoken(bench, guest), macs(guest)) == ([wish], [wish], {wish}, mac)
    assert known(bench, network, guest) == ({DhcpHost(mac=mac[0], ip=wish)}, {DnsName(ip=wish, name=guest.name)})
    assert bench.findings() == []


def test_without_a_wish_it_is_the_lowest_free_one_and_the_former_is_the_next_machines(bench: Bench) -> None:
    guest = bench.guest()
    (former,) = ips(guest)
    assert run(readdress(bench, guest).pk) == "succeeded"
    assert ips(guest) != [former]

    other = bench.guest()

    assert ips(other) == [former]
    assert macs(other) != macs(guest)
    assert bench.findings() == []
    assert run(bench.ask(guest, "purge").pk) == "succeeded"
    assert held(guest) == []


def test_the_former_address_is_nobodys_else_until_the_host_lets_it_through_no_more(bench: Bench) -> None:
    guest, other = bench.guest(), bench.guest()
    (former,), wish = ips(guest), wish_in(first_of(guest), 77)
    changing = readdress(bench, guest, wish)

    for taken in (former, wish):
        with pytest.raises(Conflict) as refusal:
            readdress(bench, other, taken)
        assert refusal.value.code == "address_taken"
    with pytest.raises(Conflict) as refusal:
        readdress(bench, guest, wish_in(first_of(guest), 78))
    assert refusal.value.code == "operation_in_progress"

    assert run(changing.pk) == "succeeded"
    assert run(readdress(bench, other, former).pk) == "succeeded"
    assert (ips(other), bench.findings()) == ([former], [])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_the_host_refuses_is_taken_back_and_nothing_is_held(bench: Bench, after: bool) -> None:
    guest = bench.guest()
    (former,) = ips(guest)
    bench.on_host.fail("readdress_card", Refused("no"), after=after)

    operation = readdress(bench, guest)
    assert run(operation.pk) == "failed"
    assert len(held(guest)) == 2
    bench.settle()

    assert (ips(guest), held(guest), spoken(bench, guest)) == ([former], [former], {former})
    assert bench.findings() == []


def test_what_cannot_be_taken_back_is_held_until_one_of_both_is_brought_there(bench: Bench) -> None:
    guest = bench.guest()
    (former,) = ips(guest)
    bench.on_host.fail("readdress_card", Refused("no"), after=True)
    assert run(readdress(bench, guest).pk) == "failed"
    bench.on_host.fail("readdress_card", Refused("no"))
    bench.settle()
    assert (ips(guest), len(held(guest)), len(bench.findings())) == ([former], 2, 2)

    assert run(readdress(bench, guest, former).pk) == "succeeded"

    assert (ips(guest), held(guest), spoken(bench, guest)) == ([former], [former], {former})
    assert bench.findings() == []


def test_one_that_never_began_leaves_everything_as_it_was(bench: Bench) -> None:
    guest = bench.guest()
    before = ips(guest)
    operation = readdress(bench, guest)
    Operation.objects.filter(pk=operation.pk).update(deadline_at=now() - timedelta(seconds=1))
    bench.settle()

    assert (ips(guest), held(guest)) == (before, before)
    assert bench.findings() == []


def test_rest_answers_with_the_operation_and_minds_the_version(bench: Bench) -> None:
    guest = bench.guest()
    rest, path = Rest(bench.house.token), f"{bench.house.url}/ports/{card(guest).pk}"
    tag = rest.get(path).headers["ETag"]

    wrong = rest.patch(path, {"ip": "10.9.9.9"})
    said = rest.patch(path, {"ip": wish_in(first_of(guest), 77)}, **{"If-Match": tag})
    assert (wrong.status, wrong.json["code"], said.status) == (409, "invalid_address", 202)
    assert (said.json["kind"], said.json["subject"]["id"]) == ("guest.readdress", str(guest.pk))
    assert run(said.json["id"]) == "succeeded"

    assert rest.patch(path, {"ip": ""}, **{"If-Match": tag}).status == 412
    assert rest.patch(path, {}).status == 422
    assert rest.get(path).json["addresses"][0]["ip"] == wish_in(first_of(guest), 77)
    stranger = Rest(factories.tenant_with_owner().token)
    assert stranger.patch(path, {"ip": ""}).status == 404


def test_a_further_card_is_changed_without_the_first(bench: Bench) -> None:
    guest, back = bench.guest(), factories.network(bench.house, "back")
    assert run(attach(bench, guest, back).pk) == "succeeded"
    before = ips(guest)

    assert run(bench.ask(guest, "readdress").pk) == "succeeded"

    assert (ips(guest)[0], macs(guest)[1][:5]) == (before[0], "52:56")
    assert ips(guest)[1] != before[1]
    assert bench.findings() == []


def test_what_others_rules_say_of_the_machine_is_true_of_its_new_address(bench: Bench) -> None:
    group = made(bench, "peers", [Rule(direction=Direction.IN, group=SELF).as_dict()])
    guest, other = machine(bench, group), machine(bench, group)
    (former,) = ips(guest)
    assert peers(bench, group) == {former, *ips(other)}

    operation = readdress(bench, guest, wish_in(first_of(guest), 77))
    bench.settle()

    operation.refresh_from_db()
    assert operation.status == "succeeded"
    assert peers(bench, group) == {*ips(guest), *ips(other)}
    assert bench.findings() == []


def peers(bench: Bench, group: SecurityGroup) -> set[str]:
    """The addresses that the group's filter on the host names."""
    rules = bench.on_host.filters[group_name(installation_owner(), group.pk)].rules
    found: set[str] = set()
    for rule in rules:
        match = dict(rule.match)
        net = IPv4Network(f"{match['srcipaddr']}/{match.get('srcipmask', '32')}")
        found |= {str(each) for each in net}
    return found
