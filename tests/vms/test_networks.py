"""Networks as customers draw them: what is refused, what holds at once, which addresses are handed out."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import pytest

from portal.core.errors import Conflict, Invalid, PortalError
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.support.crowd import together
from vms.models import Address, Network, Subnet
from vms.services.addresses import address_plan, mac_of
from vms.services.networks import network_create, network_edit, network_fit
from vms.specs import NetworkWish

WISH = NetworkWish(name="lan", cidr="10.20.0.0/24")


@pytest.fixture
def house(db: None) -> House:
    return factories.tenant_with_owner(limits={"networks": None})


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


def make(house: House, wish: NetworkWish = WISH) -> Network:
    with tenant_scope(house.tenant):
        return network_create(house.tenant, wish, actor=house.actor)


def subnet_of(network: Network) -> Subnet:
    with every_tenant(why="test"):
        return Subnet.objects.get(network=network)


# --- what may be drawn ----------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a public range": ({"cidr": "9.9.9.0/24"}, "/cidr"),
    "a range in the carriers' space": ({"cidr": "100.64.0.0/24"}, "/cidr"),
    "a range that is too large": ({"cidr": "10.0.0.0/15"}, "/cidr"),
    "a range that is too small": ({"cidr": "10.20.0.0/30"}, "/cidr"),
    "a range that begins in the middle": ({"cidr": "10.20.0.1/24"}, "/cidr"),
    "no range at all": ({"cidr": "10.20.0.0/24; reboot"}, "/cidr"),
    "IPv6": ({"cidr": "fd00::/64"}, "/cidr"),
    "a gateway elsewhere": ({"gateway": "10.21.0.1"}, "/gateway"),
    "a gateway that is the range itself": ({"gateway": "10.20.0.0"}, "/gateway"),
    "half a pool": ({"first": "10.20.0.10"}, "/last"),
    "a pool backwards": ({"first": "10.20.0.20", "last": "10.20.0.10"}, "/last"),
    "a pool outside": ({"first": "10.20.0.20", "last": "10.20.1.10"}, "/last"),
    "a pool of the gateway": ({"first": "10.20.0.1", "last": "10.20.0.1"}, "/last"),
    "a private DNS server elsewhere": ({"dns": ("10.0.0.53",)}, "/dns/0"),
    "a DNS server with an option in it": ({"dns": ("9.9.9.9,dhcp-script=/bin/sh",)}, "/dns/0"),
    "a domain with a line break": ({"domain": "lan\nserver=6.6.6.6"}, "/domain"),
    "a domain with a gap": ({"domain": "lan..internal"}, "/domain"),
    "a route to a private range": ({"routes": (("10.30.0.0/24", "10.20.0.1"),)}, "/routes/0/to"),
    "a route to everywhere": ({"routes": (("0.0.0.0/0", "10.20.0.1"),)}, "/routes/0/to"),
    "a route through a machine": ({"routes": (("9.9.9.0/24", "10.20.0.9"),)}, "/routes/0/via"),
    "a route out of an island": ({"outward": "isolated", "routes": (("9.9.9.0/24", "10.20.0.1"),)}, "/routes"),
    "a small MTU": ({"mtu": 500}, "/mtu"),
    "a large MTU": ({"mtu": 9001}, "/mtu"),
    "another way out": ({"outward": "bridge"}, "/outward"),
    "a description of two lines": ({"description": "a\nb"}, "/description"),
}


@pytest.mark.parametrize(("wish", "pointer"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_is_refused_where_it_is_wrong(house: House, wish: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as refusal:
        make(house, replace(WISH, **wish))

    assert [fault.pointer for fault in refusal.value.errors] == [pointer]
    with every_tenant(why="test"):
        assert not Network.objects.exists()


@pytest.mark.parametrize("cidr", ["10.20.0.0/24", "10.20.0.128/25", "10.20.0.0/16"])
def test_no_range_touches_anothers(house: House, cidr: str) -> None:
    make(factories.tenant_with_owner())
    with pytest.raises(Conflict) as refusal:
        make(house, replace(WISH, cidr=cidr))

    assert refusal.value.code == "range_taken"


def test_no_range_touches_the_hosts_or_what_the_operator_keeps(house: House, settings: Any) -> None:
    host = factories.host_up()
    host.addresses = ["10.50.0.7", "2001:db8::1"]
    host.save()
    settings.RESERVED_NETWORKS = ["192.168.0.0/16"]

    refused = []
    for cidr in ("10.50.0.0/24", "192.168.7.0/24"):
        with pytest.raises(Conflict) as refusal:
            make(house, replace(WISH, cidr=cidr))
        refused.append(refusal.value.code)

    assert refused == ["range_taken"] * 2


def test_who_leaves_the_range_to_the_portal_gets_the_next_that_nobody_touches(house: House) -> None:
    make(house, replace(WISH, cidr="10.128.0.0/23"))

    network = make(house, NetworkWish(name="free"))

    assert (subnet_of(network).cidr, network.domain, network.mtu) == ("10.128.2.0/24", "free.internal", 1500)


@pytest.mark.django_db(transaction=True)
def test_of_many_that_draw_over_each_other_at_once_one_wins() -> None:
    houses = [factories.tenant_with_owner() for _ in range(6)]
    ranges = ["10.40.0.0/16", "10.40.4.0/24", "10.40.4.128/25", "10.40.0.0/17", "10.40.4.0/22", "10.40.4.144/28"]

    def draw(house: House, cidr: str) -> Any:
        return lambda: make(house, replace(WISH, cidr=cidr)) and None

    answers = together([draw(house, cidr) for house, cidr in zip(houses, ranges, strict=True)])

    refused = [answer for answer in answers if answer is not None]
    assert [getattr(answer, "code", repr(answer)) for answer in refused] == ["range_taken"] * 5
    with every_tenant(why="test"):
        assert Subnet.objects.filter(cidr__in=ranges).count() == 1


def test_a_dry_run_says_what_it_would_be_and_changes_nothing(house: House) -> None:
    with tenant_scope(house.tenant):
        fit = network_fit(house.tenant, replace(WISH, gateway="10.20.0.254"), actor=house.actor)
        taken = network_fit(house.tenant, replace(WISH, cidr="8.8.8.0/24"), actor=house.actor)

        assert (fit.fits, fit.cidr, fit.gateway) == (True, "10.20.0.0/24", "10.20.0.254")
        assert (taken.fits, [code for code, _message in taken.reasons]) == (False, ["not_private"])
        assert not Network.objects.exists()


def test_addresses_come_out_of_the_pool_and_machines_keep_theirs_when_it_changes(house: House) -> None:
    network = make(house, replace(WISH, first="10.20.0.100", last="10.20.0.101"))
    factories.host_up()
    for name in ("a", "b"):
        factories.guest(house, name, networks=(network,))
    with pytest.raises(PortalError) as refusal:
        factories.guest(house, "c", networks=(network,))
    assert refusal.value.code == "no_address"

    with tenant_scope(house.tenant):
        network_edit(network, actor=house.actor, first="", last="")
        factories.guest(house, "c", networks=(network,))
        held = sorted(Address.objects.values_list("ip", flat=True))
        plan = dict(address_plan(subnet_of(network)))

    assert held == ["10.20.0.10", "10.20.0.100", "10.20.0.101"]
    assert len(plan) == len(set(plan.values())) == 245
    assert plan[mac_of("10.20.0.100")] == "10.20.0.100"


# --- by REST --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_two_changes_at_once_neither_is_lost(house: House) -> None:
    network = make(house)

    def change(**changes: Any) -> object:
        """As whoever read it before anybody else changed it."""
        with tenant_scope(house.tenant):
            return network_edit(copy(network), actor=house.actor, **changes)

    change(mtu=1400, first="10.20.0.50", last="10.20.0.60")
    results = together(
        [lambda: change(dns=("9.9.9.9",)), lambda: change(description="ours"), lambda: change(name="web")]
    )

    assert not [result for result in results if isinstance(result, Exception)]
    with every_tenant(why="test"):
        now = Network.objects.get(pk=network.pk)
    assert (now.mtu, now.description, now.name) == (1400, "ours", "web")
    assert (now.version, now.drawing) == (network.version + 4, network.drawing + 2)
    assert (subnet_of(network).first, subnet_of(network).dns) == ("10.20.0.50", ["9.9.9.9"])


def test_a_network_is_drawn_and_changed_by_rest(house: House, rest: Rest) -> None:
    url = f"{house.url}/networks"
    words = {
        "name": "lan", "cidr": "10.20.0.0/22", "gateway": "10.20.3.254", "first": "10.20.1.0", "last": "10.20.1.255",
        "dns": ["9.9.9.9"], "domain": "acme.test", "mtu": 1400, "routes": [{"to": "9.9.9.0/24", "via": "10.20.3.254"}],
        "description": "Everything",
    }  # fmt: skip
    foreseen = rest.post(f"{url}?dry_run=true", words)
    made = rest.post(url, words)
    row = made.json
    assert (foreseen.status, foreseen.json["fits"], foreseen.json["cidr"]) == (200, True, "10.20.0.0/22")
    assert (made.status, row["in_force"], row["operation"]) == (201, True, None)
    assert (row["mtu"], row["carried_mtu"]) == (1400, 1400)
    subnet = {key: value for key, value in row["subnets"][0].items() if key != "id"}
    assert subnet == {"family": 4} | {key: words[key] for key in ("cidr", "gateway", "first", "last", "dns", "routes")}

    changed = rest.patch(f"{url}/{row['id']}", {"name": "wan", "dns": []}, If_Match=made.headers["ETag"])
    stale = rest.patch(f"{url}/{row['id']}", {"name": "man"}, If_Match=made.headers["ETag"])
    wrong = rest.patch(f"{url}/{row['id']}", {"mtu": 1})
    fixed = rest.patch(f"{url}/{row['id']}", {"cidr": "10.30.0.0/24"})

    assert (changed.status, changed.json["name"], changed.json["subnets"][0]["dns"]) == (200, "wan", [])
    assert (changed.json["domain"], changed.json["mtu"]) == ("acme.test", 1400)
    assert (stale.status, wrong.status, fixed.status) == (412, 422, 422)
