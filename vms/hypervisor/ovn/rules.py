"""What OVN is told of packets: a network's own rules, and groups' rules; pure.

A rule is asked of every packet; who was allowed to begin is answered (``allow-related``). The highest priority decides. What
no group allows is dropped on every card of a network, also on one that no group guards.
Source: https://man7.org/linux/man-pages/man5/ovn-nb.5.html#ACL_TABLE
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from vms import firewall
from vms.firewall import SPECIAL, Direction, Protocol
from vms.hypervisor.engines import Group, Net

_ROUTER, _ROGUE, _OWN, _GATEWAY, _FORBIDDEN, _SPECIAL, _GROUP, _LAST = 3000, 2900, 2800, 2700, 2600, 2500, 1001, 900
_OUT, _IN = "from-lport", "to-lport"
_PORT: Final[Mapping[Direction, str]] = {Direction.IN: "outport", Direction.OUT: "inport"}
_WAY: Final[Mapping[Direction, str]] = {Direction.IN: _IN, Direction.OUT: _OUT}
_CARRIED: Final[Mapping[Protocol, str]] = {
    Protocol.ANY: "ip4",
    Protocol.TCP: "ip4 && tcp",
    Protocol.UDP: "ip4 && udp",
    Protocol.ICMP: "icmp4",
}


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One rule: ``direction`` is seen from the network's middle, as OVN does."""

    direction: str
    priority: int
    match: str
    action: str


def network_rules(net: Net, *, router_port: str) -> frozenset[Acl]:
    """What holds for every card of a network; ``router_port`` is the switch's port to its router, empty without one.

    The same that ``vms.hypervisor.filters`` says to libvirt, but for who somebody is: that is the ports' security.
    """
    gateway = net.spec.gateway
    subnet = ipaddress.IPv4Interface(f"{gateway}/{net.spec.prefix}").network
    rules = [
        Acl(_OUT, _ROGUE, "udp.src == {67, 547}", "drop"),
        Acl(_IN, _ROGUE, "udp.dst == {68, 546}", "drop"),
        Acl(_OUT, _ROGUE, "!ip4 && !arp", "drop"),
        Acl(_IN, _ROGUE, "!ip4 && !arp", "drop"),
        Acl(
            _OUT, _OWN, f"udp.src == 68 && udp.dst == 67 && ip4.dst == {{255.255.255.255, {gateway}}}", "allow-related"
        ),
        Acl(_OUT, _OWN, f"ip4.dst == {gateway} && udp.dst == 53", "allow-related"),
        Acl(_OUT, _OWN, f"ip4.dst == {gateway} && tcp.dst == 53", "allow-related"),
        Acl(_OUT, _GATEWAY, f"ip4.dst == {gateway} && !icmp4", "drop"),
        Acl(_OUT, _SPECIAL, f"ip4.dst == {{{', '.join(SPECIAL)}}} && ip4.dst != {subnet}", "drop"),
        Acl(_OUT, _LAST, "ip4", "drop"),
        Acl(_IN, _LAST, "ip4", "drop"),
    ]
    if net.forbidden:
        barred = ", ".join(sorted(str(ipaddress.IPv4Network(each)) for each in net.forbidden))
        rules.append(Acl(_OUT, _FORBIDDEN, f"ip4.dst == {{{barred}}}", "drop"))
    if router_port:
        rules.append(Acl(_OUT, _ROUTER, f'inport == "{router_port}"', "allow"))
        rules.append(Acl(_IN, _ROUTER, f'outport == "{router_port}"', "allow"))
    return frozenset(rules)


def group_rules(group: Group, row: str) -> frozenset[Acl]:
    """What a group allows to the cards in the port group ``row``."""
    return frozenset(_allowed(rule, row) for rule in group.rules)


def group_sets(group: Group, row: str) -> dict[str, frozenset[str]]:
    """The address sets that its rules name: the addresses of the groups that they let in or out."""
    named = {rule.group for rule in group.rules if rule.group}
    return {set_name(row, pk): frozenset(group.members.get(pk, ())) for pk in named}


def set_name(row: str, group: str) -> str:
    """The address set of ``group``, as the rules of the port group ``row`` name it."""
    return f"{row}_{hashlib.sha256(group.encode()).hexdigest()[:12]}"


def _allowed(rule: firewall.Rule, row: str) -> Acl:
    parts = [f"{_PORT[rule.direction]} == @{row}", _CARRIED[rule.protocol], *_peer(rule, row), *_ports(rule)]
    return Acl(_WAY[rule.direction], _GROUP, " && ".join(parts), "allow-related")


def _peer(rule: firewall.Rule, row: str) -> Iterator[str]:
    side = "ip4.src" if rule.direction == Direction.IN else "ip4.dst"
    if rule.group:
        yield f"{side} == ${set_name(row, rule.group)}"
    elif rule.cidr and ipaddress.IPv4Network(rule.cidr).prefixlen:
        yield f"{side} == {rule.cidr}"


def _ports(rule: firewall.Rule) -> Iterator[str]:
    if rule.ports is None:
        return
    field = f"{rule.protocol.value}.dst"
    first, last = rule.ports
    if first == last:
        yield f"{field} == {first}"
    else:
        yield f"{first} <= {field} <= {last}"
