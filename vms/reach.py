"""Why A does or does not reach B: the places that a conversation's first packet comes by, and what becomes of it there; pure.

The same rules that hosts are told, read by ``vms.firewall``; what the network's own filter lets through is said here again
(``vms.hypervisor.filters``), and held equal to it by the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from vms.firewall import SPECIAL, Direction, Packet, Protocol, Rule, allowing

DNS: Final = 53


class Verdict(StrEnum):
    """What becomes of the packet at one place."""

    PASS = "pass"
    STOP = "stop"
    UNSURE = "unsure"


class Code(StrEnum):
    """What was found at a place; each has one verdict and one sentence."""

    ON = "on"
    OFF = "off"
    SILENT = "silent"
    CARD = "card"
    NO_ROUTE = "no_route"
    SAME_NETWORK = "same_network"
    OTHER_NETWORK = "other_network"
    OTHER_HOST = "other_host"
    GATEWAY = "gateway"
    GATEWAY_CLOSED = "gateway_closed"
    NOBODY = "nobody"
    PRIVATE = "private"
    ISOLATED = "isolated"
    WAY_OUT = "way_out"
    NO_WAY_IN = "no_way_in"
    ALWAYS = "always"
    RULE_OUT = "rule_out"
    NO_RULE_OUT = "no_rule_out"
    RULE_IN = "rule_in"
    SOME_IN = "some_in"
    NO_RULE_IN = "no_rule_in"
    UNGUARDED = "unguarded"
    THEIRS = "theirs"
    INSIDE = "inside"


_STOPS: Final = frozenset(
    {
        Code.OFF, Code.NO_ROUTE, Code.OTHER_NETWORK, Code.OTHER_HOST, Code.GATEWAY_CLOSED, Code.NOBODY, Code.PRIVATE,
        Code.ISOLATED, Code.NO_WAY_IN, Code.NO_RULE_OUT, Code.NO_RULE_IN,
    }
)  # fmt: skip
_UNSURE: Final = frozenset({Code.SILENT, Code.SOME_IN, Code.THEIRS, Code.INSIDE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A security group as it is in force."""

    pk: str
    name: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A machine's card. ``groups`` None: from before there were any. ``runs`` None: nobody knows.

    ``routes`` are ranges that lead out by this card, ``barred`` what the host lets no guest call. ``host`` is how far its
    network goes: its host, or the fabric of that.
    """

    guest: str
    ip: str
    network: str
    range: str
    gateway: str
    isolated: bool = False
    first: bool = True
    routes: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()
    groups: tuple[Group, ...] | None = None
    runs: bool | None = True
    host: str = ""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Whoever else is on a network."""

    network: str
    range: str


@dataclass(frozen=True, slots=True)
class Outside:
    """An address that is none of the project's machines'; empty for any."""

    ip: str = ""


type Source = Sequence[Card] | Neighbours | Outside
type Target = Sequence[Card] | Outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One place: at whom, and what was found. ``rule`` of ``group`` is the one that let it through."""

    code: Code
    at: str = ""
    network: str = ""
    ip: str = ""
    group: Group | None = None
    rule: Rule | None = None

    @property
    def verdict(self) -> Verdict:
        """What becomes of the packet here."""
        if self.code in _STOPS:
            return Verdict.STOP
        return Verdict.UNSURE if self.code in _UNSURE else Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is called: by which protocol (never ``any``), at which port, for TCP and UDP."""

    protocol: Protocol
    port: int | None = None


type Members = Mapping[str, Set[str]]


def path(source: Source, target: Target, call: Call, members: Members) -> tuple[Hop, ...]:
    """Every place on the way, also those behind one that stops it; ``members`` has the addresses of groups that rules name.

    A machine is all of its cards, one at least: it calls by the one that leads there, and is called at one that shares a
    network with who calls, if there is any.
    """
    called = None if isinstance(target, Outside) else _called(source, target)
    ip = target.ip if isinstance(target, Outside) else called.ip if called is not None else ""
    caller = _caller(source, ip) if isinstance(source, Sequence) else None
    packet = Packet(source=caller.ip if caller else "", destination=ip, protocol=call.protocol, port=call.port)
    hops: list[Hop] = []
    if isinstance(source, Sequence):
        hops += _leaving(source, caller, called, packet, members)
    elif isinstance(source, Neighbours):
        hops += _from_network(source, called)
    else:
        packet = replace(packet, source=source.ip)
        hops.append(Hop(code=Code.NO_WAY_IN, network=called.network if called else ""))
    if called is not None:
        hops += _arriving(source, called, packet, members)
    return tuple(hops)


def reaches(hops: Sequence[Hop]) -> bool | None:
    """False where one stops it; None where one cannot be told, but for what is inside a machine, which nobody is asked."""
    verdicts = {hop.verdict for hop in hops if hop.code != Code.INSIDE}
    if Verdict.STOP in verdicts:
        return False
    return None if Verdict.UNSURE in verdicts else True


def _called(source: Source, target: Sequence[Card]) -> Card:
    if isinstance(source, Neighbours):
        shared = {source.network}
    else:
        shared = set() if isinstance(source, Outside) else {card.network for card in source}
    return next((card for card in target if card.network in shared), target[0])


def _caller(cards: Sequence[Card], ip: str) -> Card | None:
    """By which card a system sends: one on the range itself, else one with a route there, else its first."""
    if not ip:
        return None
    near = next((card for card in cards if _within(ip, card.range)), None)
    routed = next((card for card in cards if any(_within(ip, each) for each in card.routes)), None)
    return near or routed or next((card for card in cards if card.first), None)


def _leaving(
    cards: Sequence[Card], caller: Card | None, called: Card | None, packet: Packet, members: Members
) -> list[Hop]:
    if caller is None:
        return [Hop(code=Code.NO_ROUTE, at=cards[0].guest)]
    hops = [_power(caller), Hop(code=Code.CARD, at=caller.guest, network=caller.network, ip=caller.ip)]
    if caller.groups is None:
        hops.append(Hop(code=Code.UNGUARDED, at=caller.guest))
    elif _is_always(caller, packet):
        hops.append(Hop(code=Code.ALWAYS, at=caller.guest))
    else:
        hops.append(_ruled(caller, Direction.OUT, packet, members))
    hops.append(_across(caller, called, packet))
    return hops


def _across(caller: Card, called: Card | None, packet: Packet) -> Hop:
    """What the caller's network and its filter make of it."""
    here = Hop(code=Code.SAME_NETWORK, at=caller.guest, network=caller.network, ip=packet.destination)
    if packet.destination == caller.gateway:
        is_open = packet.protocol == Protocol.ICMP or packet.port == DNS
        return replace(here, code=Code.GATEWAY if is_open else Code.GATEWAY_CLOSED)
    if any(_within(packet.destination, each) for each in caller.barred):
        return replace(here, code=Code.PRIVATE)
    if _within(packet.destination, caller.range):
        if called is None:
            return replace(here, code=Code.NOBODY)
        return here if called.host == caller.host else replace(here, code=Code.OTHER_HOST)
    if called is not None:
        return replace(here, code=Code.OTHER_NETWORK)
    if any(_within(packet.destination, each) for each in SPECIAL):
        return replace(here, code=Code.PRIVATE)
    return replace(here, code=Code.ISOLATED if caller.isolated else Code.WAY_OUT)


def _from_network(source: Neighbours, called: Card | None) -> list[Hop]:
    code = Code.SAME_NETWORK if called is not None and called.network == source.network else Code.OTHER_NETWORK
    return [Hop(code=Code.THEIRS, network=source.network), Hop(code=code, network=source.network)]


def _arriving(source: Source, called: Card, packet: Packet, members: Members) -> list[Hop]:
    if called.groups is None:
        rule = Hop(code=Code.UNGUARDED, at=called.guest)
    elif isinstance(source, Neighbours):
        rule = _ruled_for_all(source, called, packet)
    else:
        rule = _ruled(called, Direction.IN, packet, members)
    return [rule, _power(called), Hop(code=Code.INSIDE, at=called.guest, ip=called.ip)]


def _power(card: Card) -> Hop:
    code = Code.SILENT if card.runs is None else Code.ON if card.runs else Code.OFF
    return Hop(code=code, at=card.guest)


def _is_always(caller: Card, packet: Packet) -> bool:
    """Does every guarded card send it: a question for a name, to its gateway?"""
    return packet.destination == caller.gateway and packet.port == DNS


def _ruled(card: Card, direction: Direction, packet: Packet, members: Members) -> Hop:
    """What the card's groups make of it; a caller of whom nothing is known is met by rules about anybody alone."""
    found, missed = (Code.RULE_IN, Code.NO_RULE_IN) if direction == Direction.IN else (Code.RULE_OUT, Code.NO_RULE_OUT)
    is_known = bool(packet.source)
    packet = packet if is_known else replace(packet, source="0.0.0.0")
    for group in card.groups or ():
        asked = [rule for rule in group.rules if is_known or _is_for_anybody(rule)]
        rule = allowing(asked, direction, packet, members)
        if rule is not None:
            return Hop(code=found, at=card.guest, group=group, rule=rule)
    return Hop(code=missed, at=card.guest)


def _ruled_for_all(source: Neighbours, called: Card, packet: Packet) -> Hop:
    """Do the card's groups let in everybody on that network, some, or nobody?"""
    some: Hop | None = None
    for group in called.groups or ():
        for rule in group.rules:
            bare = replace(rule, cidr="", group="")
            if allowing([bare], Direction.IN, replace(packet, source="0.0.0.0"), {}) is None:
                continue
            hop = Hop(code=Code.RULE_IN, at=called.guest, group=group, rule=rule)
            if not rule.group and (not rule.cidr or IPv4Network(source.range).subnet_of(IPv4Network(rule.cidr))):
                return hop
            if rule.group or IPv4Network(rule.cidr).overlaps(IPv4Network(source.range)):
                some = some or replace(hop, code=Code.SOME_IN)
    return some or Hop(code=Code.NO_RULE_IN, at=called.guest)


def _is_for_anybody(rule: Rule) -> bool:
    return not rule.group and rule.cidr in ("", "0.0.0.0/0")


def _within(ip: str, net: str) -> bool:
    return IPv4Address(ip) in IPv4Network(net)
