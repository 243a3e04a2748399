"""What a security group says, and what becomes of a packet by it; pure.

Rules allow; what none of a card's groups allows is dropped. They are stateful: a rule is asked of who begins a conversation,
and the answers to what it allowed come through without one of their own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

MAX_RULES: Final = 100
"""Rules of one group."""
MAX_ENTRIES: Final = 256
"""What the rules of one group come to on a card, where one about a group's machines counts once for each address of
them: at most, for those beside each other are told as one."""
NOTE_MAX: Final = 100
_PORTS: Final = range(1, 65536)
SPECIAL: Final = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    # Multicast, reserved and broadcast in one: everything from 224 up.
    "224.0.0.0/3",
)
"""IPv4 ranges that are never the public internet (RFC 6890), so never a tenant's business beyond its own subnet."""


class Direction(StrEnum):
    """Seen from the machine."""

    IN = "in"
    OUT = "out"


class Protocol(StrEnum):
    """What is carried; only TCP and UDP have ports."""

    ANY = "any"
    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"

    @property
    def has_ports(self) -> bool:
        """Whether a rule may name ports."""
        return self in (Protocol.TCP, Protocol.UDP)


class BadRule(ValueError):
    """A rule that cannot be used; ``field`` is what of it is wrong and ``code`` why."""

    def __init__(self, field: str, code: str) -> None:
        super().__init__(f"{field}: {code}")
        self.field, self.code = field, code


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that is allowed: with whom (a range, a group's machines, or anybody), by what, at which ports of who is called.

    Raises ``BadRule`` where it makes no sense.
    """

    direction: Direction
    protocol: Protocol = Protocol.ANY
    ports: tuple[int, int] | None = None
    """First and last; all of them if left out."""
    cidr: str = ""
    group: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.ports is not None:
            if not self.protocol.has_ports:
                raise BadRule("ports", "no_ports")
            first, last = self.ports
            if first not in _PORTS or last not in _PORTS or first > last:
                raise BadRule("ports", "invalid_ports")
        if self.cidr and self.group:
            raise BadRule("group", "one_peer")
        if self.cidr:
            _check_cidr(self.cidr)
        if len(self.note) > NOTE_MAX or not self.note.isprintable():
            raise BadRule("note", "invalid_note")

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """The rule that ``as_dict`` wrote, or that somebody sent; raises ``BadRule``."""
        try:
            direction = Direction(data.get("direction", ""))
        except ValueError as error:
            raise BadRule("direction", "invalid_choice") from error
        try:
            protocol = Protocol(data.get("protocol") or Protocol.ANY)
        except ValueError as error:
            raise BadRule("protocol", "invalid_choice") from error
        named = [port for port in (data.get("first_port"), data.get("last_port")) if port is not None]
        return cls(
            direction=direction,
            protocol=protocol,
            ports=(named[0], named[-1]) if named else None,
            cidr=data.get("cidr") or "",
            group=data.get("group") or "",
            note=data.get("note") or "",
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        first, last = self.ports or (None, None)
        return {
            "direction": self.direction.value,
            "protocol": self.protocol.value,
            "first_port": first,
            "last_port": last,
            "cidr": self.cidr,
            "group": self.group,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The first packet of a conversation; ``port`` is that of who is called, for TCP and UDP."""

    source: str
    destination: str
    protocol: Protocol
    port: int | None = None


def allows(rule: Rule, direction: Direction, packet: Packet, members: Mapping[str, Set[str]]) -> bool:
    """Does the rule let it through? ``members`` has the addresses of each group's machines; a group not in it has none."""
    if rule.direction != direction:
        return False
    if rule.protocol not in (Protocol.ANY, packet.protocol):
        return False
    if rule.ports is not None and not (packet.port is not None and rule.ports[0] <= packet.port <= rule.ports[1]):
        return False
    peer = packet.source if direction == Direction.IN else packet.destination
    if rule.group:
        return peer in members.get(rule.group, frozenset())
    return not rule.cidr or ipaddress.ip_address(peer) in ipaddress.ip_network(rule.cidr)


def allowing(
    rules: Iterable[Rule], direction: Direction, packet: Packet, members: Mapping[str, Set[str]]
) -> Rule | None:
    """The first rule that lets it through, or None: then it is dropped."""
    return next((rule for rule in rules if allows(rule, direction, packet, members)), None)


def entries(rules: Iterable[Rule], numbers: Mapping[str, int]) -> int:
    """What the rules come to, to hold against ``MAX_ENTRIES``; ``numbers`` has how many addresses each group has."""
    return sum(numbers.get(rule.group, 0) if rule.group else 1 for rule in rules)


def _check_cidr(text: str) -> None:
    try:
        net = ipaddress.ip_network(text)
    except ValueError as error:
        loose = _loosely(text)
        raise BadRule("cidr", "host_bits" if loose else "invalid_cidr") from error
    if net.version != 4:
        raise BadRule("cidr", "no_ipv6")
    if str(net) != text:
        raise BadRule("cidr", "invalid_cidr")


def _loosely(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
