"""Why A does or does not reach B, over REST and on its page: what lets it through is named, and others' machines are not."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from operations.runner import run
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.portal.api.rest import Rest
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.test_security_groups import change, machine, made
from tests.vms.views.test_snapshot_pages import text, url
from vms.firewall import Direction, Rule
from vms.models import Guest, Network
from vms.services.ports import port_attach
from vms.states import Power

OUT = Rule(direction=Direction.OUT).as_dict()


def asked(bench: Bench, **words: Any) -> Any:
    said = Rest(bench.house.token).get(f"{bench.house.url}/reachability?{urlencode(words)}")
    assert said.status == 200, said
    return said.json


def stopped_by(answer: Any) -> list[str]:
    return [hop["code"] for hop in answer["hops"] if hop["verdict"] == "stop"]


def ip(guest: Guest) -> str:
    with every_tenant(why="test"):
        return guest.ports.get().addresses.get().ip


def test_the_rule_that_lets_it_through_is_named_and_goes_with_the_group(bench: Bench) -> None:
    web = made(bench, "web")
    shop, other = machine(bench, web), bench.guest()

    for source, target in ((other.name, shop.name), (str(other.pk), str(shop.pk)), (ip(other), ip(shop))):
        answer = asked(bench, **{"from": source, "to": target, "protocol": "tcp", "port": 22})
        assert (answer["reaches"], stopped_by(answer)) == (True, [])
        (rule,) = [hop for hop in answer["hops"] if hop["code"] == "rule_in"]
        assert (rule["group"], rule["group_name"], rule["rule"]["first_port"]) == (str(web.pk), "web", 22)
        assert rule["message"] == f"A rule of web lets it in to {shop.name}."
    assert stopped_by(asked(bench, **{"from": other.name, "to": shop.name, "port": 23})) == ["no_rule_in"]
    assert stopped_by(asked(bench, **{"from": shop.name, "to": other.name, "protocol": "icmp"})) == ["no_rule_in"]

    operation = change(bench, web, [OUT])
    still = asked(bench, **{"from": other.name, "to": shop.name, "port": 22})
    assert run(operation.pk) == "succeeded"
    assert (still["reaches"], asked(bench, **{"from": other.name, "to": shop.name, "port": 22})["reaches"]) == (
        True,
        False,
    )


def test_the_outside_networks_and_machines_that_are_off(bench: Bench) -> None:
    guest, off = bench.guest(), bench.guest(Power.STOPPED)
    with every_tenant(why="test"):
        home = Network.objects.get(ports__guest=guest)
    back = factories.network(bench.house, "back")
    with tenant_scope(bench.house.tenant):
        assert run(port_attach(off, back, actor=bench.house.actor).pk) == "succeeded"

    assert stopped_by(asked(bench, **{"from": "outside", "to": guest.name, "port": 22})) == ["no_way_in", "no_rule_in"]
    assert stopped_by(asked(bench, **{"from": guest.name, "to": "8.8.8.8", "port": 443})) == []
    assert stopped_by(asked(bench, **{"from": guest.name, "to": "192.168.7.7", "port": 443})) == ["private"]
    assert stopped_by(asked(bench, **{"from": guest.name, "to": off.name, "port": 22})) == ["no_rule_in", "off"]
    assert stopped_by(asked(bench, **{"from": home.name, "to": guest.name, "port": 22})) == ["no_rule_in"]
    assert stopped_by(asked(bench, **{"from": back.name, "to": guest.name, "port": 22})) == [
        "other_network",
        "no_rule_in",
    ]


def test_anothers_machine_is_the_outside_and_what_makes_no_sense_is_refused(bench: Bench) -> None:
    guest = bench.guest()
    stranger = factories.tenant_with_owner()
    rest, here = Rest(stranger.token), f"{stranger.url}/reachability"
    theirs = f"{here}?from=outside&to={ip(guest)}&port=22"
    assert [fault["code"] for fault in rest.get(theirs).json["errors"]] == ["no_machine"]
    assert rest.get(f"{bench.house.url}/reachability?from=outside&to={guest.name}&port=22").status == 404
    for named in (guest.name, str(guest.pk)):
        said = rest.get(f"{here}?from=outside&to={named}&port=22")
        assert (said.status, said.json["errors"][0]["code"]) == (422, "unknown")

    for words, pointer in (
        ({"to": guest.name, "port": 22}, None),
        ({"from": guest.name, "to": guest.name, "port": 22}, "/to"),
        ({"from": guest.name, "to": ip(guest), "port": 22}, "/to"),
        ({"from": "outside", "to": guest.name}, "/port"),
        ({"from": "outside", "to": guest.name, "port": 0}, "/port"),
        ({"from": "outside", "to": guest.name, "port": 65536}, "/port"),
        ({"from": "outside", "to": guest.name, "protocol": "any"}, "/protocol"),
        ({"from": "outside", "to": "10.0.0.0/8", "port": 1}, "/to"),
        ({"from": "'; drop table", "to": guest.name, "port": 1}, "/from"),
        ({"from": "x" * 101, "to": guest.name, "port": 1}, None),
        ({"from": "outside", "to": guest.name, "port": 1, "more": "x"}, None),
    ):
        said = Rest(bench.house.token).get(f"{bench.house.url}/reachability?{urlencode(words)}")
        assert said.status == 422, words
        assert pointer is None or [fault["pointer"] for fault in said.json["errors"]] == [pointer]


@pytest.fixture
def client(bench: Bench) -> Client:
    return browser(bench.house.owner)


def test_the_page_says_what_stops_it_and_names_the_rule_that_does_not(bench: Bench, client: Client) -> None:
    web = made(bench, "web")
    shop, other = machine(bench, web), bench.guest()
    here = url(bench.house, "reachability")

    assert "Say who calls whom" in text(client, here)
    half = text(client, f"{here}?to={shop.name}")
    assert f'value="{shop.name}"' in half
    assert f'<option value="{other.name}">' in half
    open_way = text(client, f"{here}?from={other.name}&to={shop.name}&protocol=tcp&port=22")
    assert f"keeps {other.name} from reaching {shop.name} by TCP 22" in open_way
    assert url(bench.house, "group_detail", web.pk) in open_way
    closed = text(client, f"{here}?from={other.name}&to={shop.name}&protocol=udp&port=53")
    assert f"{other.name} does not reach {shop.name} by UDP 53." in closed
    assert "Stops here" in closed
    wrong = client.get(f"{here}?from=nobody&to={shop.name}&protocol=tcp&port=22")
    assert (wrong.status_code, "There is nothing of that id, name or address." in wrong.content.decode()) == (422, True)
