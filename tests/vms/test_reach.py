"""The way between two places, held equal to the rules that hosts are told, and by those to real packets."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.vms.hypervisor.test_groups_on_the_wire import CARDS, CASES, EVERYWHERE, GATEWAY, PORTS
from vms.firewall import Direction, Packet, Protocol, Rule, allowing
from vms.hypervisor.filters import guest_filter
from vms.reach import Call, Card, Code, Group, Neighbours, Outside, Verdict, path, reaches

RANGE, OTHER_RANGE, HOST = "10.92.0.0/24", "10.93.0.0/24", "203.0.113.9"
MEMBERS = {f"group-{name}": frozenset({ip}) for name, ip in CARDS.items()}
CALLS = [
    *(Call(protocol=protocol, port=port) for protocol in (Protocol.TCP, Protocol.UDP) for port in (*PORTS, 53)),
    Call(protocol=Protocol.ICMP),
]
OPEN = (Rule(direction=Direction.IN), EVERYWHERE)
WEB = Rule(direction=Direction.IN, protocol=Protocol.TCP, ports=(443, 443))
HTTPS = Call(protocol=Protocol.TCP, port=443)


def card(name: str, rules: Sequence[Rule] | None = OPEN, **facts: object) -> Card:
    groups = None if rules is None else (Group(pk=f"group-{name}", name=name, rules=tuple(rules)),)
    made = Card(guest=name, ip=CARDS[name], network="net", range=RANGE, gateway=GATEWAY, barred=(HOST,), groups=groups)
    return replace(made, **facts)  # type: ignore[arg-type]


def codes(*args: object) -> list[str]:
    return [hop.code.value for hop in path(*args, MEMBERS)]  # type: ignore[arg-type]


def stops(*args: object) -> list[str]:
    return [hop.code.value for hop in path(*args, MEMBERS) if hop.verdict == Verdict.STOP]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CASES)
def test_the_way_is_open_where_the_wire_lets_packets_through(name: str) -> None:
    """The same cases as ``test_groups_on_the_wire`` sends as real packets."""
    cards = {each: card(each, CASES[name].get(each, (EVERYWHERE,))) for each in CARDS}
    for caller in CARDS:
        for called in CARDS:
            for call in CALLS if caller != called else ():
                packet = Packet(source=CARDS[caller], destination=CARDS[called], protocol=call.protocol, port=call.port)
                rules = {each: cards[each].groups[0].rules for each in cards}  # type: ignore[index]
                sent = allowing(rules[caller], Direction.OUT, packet, MEMBERS)
                taken = allowing(rules[called], Direction.IN, packet, MEMBERS)

                hops = path((cards[caller],), (cards[called],), call, MEMBERS)

                assert reaches(hops) == (sent is not None and taken is not None), (caller, called, call)
                assert [hop.rule for hop in hops if hop.rule] == [rule for rule in (sent, taken) if rule]


def filtered(destination: str, call: Call) -> bool:
    """Does the network's filter let a guest send it? By its rules as a host reads them."""
    rules = sorted(
        guest_filter(name="f", subnet=RANGE, gateway=GATEWAY, forbidden=(HOST,)).rules, key=lambda r: r.priority
    )
    packet = {
        "srcipaddr": CARDS["a"],
        "protocol": call.protocol.value,
        "dstportstart": str(call.port),
        "srcportstart": "4000",
    }
    for rule in rules:
        match = {key: value.replace("$IP", CARDS["a"]) for key, value in rule.match}
        if rule.direction == "in" or rule.protocol not in ("ip", ""):
            continue
        mask = match.pop("dstipmask", "32")
        there = match.pop("dstipaddr", None)
        met = there is None or ipaddress.ip_address(destination) in ipaddress.ip_network(f"{there}/{mask}")
        negated = match.pop("match", "") == "no"
        met = met and all(packet[key] == value for key, value in match.items())
        if met != negated:
            return rule.action == "accept"
    raise AssertionError("a filter ends with what meets everything")


@pytest.mark.parametrize(
    "destination",
    [GATEWAY, CARDS["b"], HOST, "10.93.0.9", "192.168.1.1", "169.254.169.254", "127.0.0.1", "8.8.8.8", "224.0.0.251"],
)
def test_what_leaves_a_network_is_what_its_filter_says(destination: str) -> None:
    target = (card("b"),) if destination == CARDS["b"] else Outside(destination)
    for call in CALLS:
        assert (stops((card("a"),), target, call) == []) == filtered(destination, call), call


NEAR, FAR = card("a"), card("a", ip="10.93.0.5", network="far", range=OTHER_RANGE, gateway="10.93.0.1", first=False)
SOMEBODY = card("b")
FOREIGN = card("b", ip="10.93.0.9", network="far", range=OTHER_RANGE, gateway="10.93.0.1")


@pytest.mark.parametrize(
    ("source", "target", "found"),
    [
        ((NEAR,), (SOMEBODY,), []),
        ((replace(NEAR, runs=False),), (replace(SOMEBODY, runs=False),), ["off", "off"]),
        ((NEAR,), (card("b", ()),), ["no_rule_in"]),
        ((card("a", (WEB,)),), (SOMEBODY,), ["no_rule_out"]),
        ((card("a", None),), (card("b", None),), []),
        ((NEAR,), (replace(SOMEBODY, host="another"),), ["other_host"]),
        ((NEAR,), (FOREIGN,), ["other_network"]),
        ((NEAR, FAR), (FOREIGN,), []),
        ((NEAR,), (FOREIGN, SOMEBODY), []),
        ((NEAR,), Outside("8.8.8.8"), []),
        ((replace(NEAR, isolated=True),), Outside("8.8.8.8"), ["isolated"]),
        ((FAR,), Outside("8.8.8.8"), ["no_route"]),
        ((replace(FAR, routes=("8.8.8.0/24",)),), Outside("8.8.8.8"), []),
        ((NEAR,), Outside("10.92.0.200"), ["nobody"]),
        ((NEAR,), Outside(GATEWAY), ["gateway_closed"]),
        (Outside(), (SOMEBODY,), ["no_way_in"]),
        (Outside("10.92.0.10"), (card("b", ()),), ["no_way_in", "no_rule_in"]),
        (Neighbours("net", RANGE), (SOMEBODY,), []),
        (Neighbours("far", OTHER_RANGE), (SOMEBODY,), ["other_network"]),
        (Neighbours("net", RANGE), (card("b", (EVERYWHERE,)),), ["no_rule_in"]),
    ],
)
def test_everything_that_stops_it_is_named(source: object, target: object, found: list[str]) -> None:
    assert stops(source, target, HTTPS) == found


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (WEB, Code.RULE_IN),
        (replace(WEB, cidr="10.0.0.0/8"), Code.RULE_IN),
        (replace(WEB, cidr="10.92.0.128/25"), Code.SOME_IN),
        (replace(WEB, group="group-c"), Code.SOME_IN),
        (replace(WEB, cidr="192.0.2.0/24"), Code.NO_RULE_IN),
        (replace(WEB, ports=(80, 80)), Code.NO_RULE_IN),
    ],
)
def test_of_a_network_a_rule_may_let_in_all_some_or_nobody(rule: Rule, code: Code) -> None:
    assert code.value in codes(Neighbours("net", RANGE), (card("b", (rule,)),), HTTPS)


def test_an_unknown_caller_is_met_by_rules_about_anybody_alone() -> None:
    for rule, code in (
        (WEB, "rule_in"),
        (replace(WEB, cidr="0.0.0.0/0"), "rule_in"),
        (replace(WEB, cidr="0.0.0.0/8"), "no_rule_in"),
    ):
        assert code in codes(Outside(), (card("b", (rule,)),), HTTPS)


def test_what_nobody_knows_is_not_called_open() -> None:
    silent = path((card("a"),), (card("b", runs=None),), HTTPS, MEMBERS)

    assert reaches(silent) is None
    assert reaches(path((card("a"),), (card("b"),), HTTPS, MEMBERS)) is True
    assert silent[-1].code == Code.INSIDE
