"""Security groups as packet filters: one filter a group, and one a card that names its network's and its groups'.

These rules are stateful (``iptables`` by way of bridges): libvirt lets a rule's answers pass by themselves, and asks it again of
every packet of who called, so that a conversation ends with the rule that allowed it. A filter that is defined again is put in
place on every running card that uses it or, where one refuses, on none
(https://libvirt.org/formatnwfilter.html#conceptual-overview).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from vms import firewall
from vms.firewall import Direction, Protocol
from vms.hypervisor.xml.nwfilter import FilterSpec, Layer, Rule

_LAYERS: Final[Mapping[Protocol, tuple[Layer, Layer]]] = {
    Protocol.ANY: ("all", "all-ipv6"),
    Protocol.TCP: ("tcp", "tcp-ipv6"),
    Protocol.UDP: ("udp", "udp-ipv6"),
    Protocol.ICMP: ("icmp", "icmpv6"),
}
_NEIGHBOURS: Final = ("133", "135", "136")
"""Router and neighbour solicitation, neighbour advertisement (RFC 4861): without them there is no IPv6."""
_RELATED, _OWN, _GROUP, _LAST = 100, 110, 200, 900


def group_filter(*, name: str, rules: Sequence[firewall.Rule], members: Mapping[str, Collection[str]]) -> FilterSpec:
    """What one group allows; ``members`` has the IPv4 addresses of the groups that its rules name.

    Addresses beside each other become ranges: every rule is three processes of libvirt's for each running card.
    """
    return FilterSpec(name=name, rules=tuple(each for rule in rules for each in _allowed(rule, members)))


def port_filter(*, name: str, network: str, groups: Sequence[str], gateway: str) -> FilterSpec:
    """A card's: its network's filter ``network``, its ``groups``' filters, and whatever they do not allow is dropped.

    A machine may always ask the ``gateway`` for an address and for names, tell who it is to its neighbours, and hear of what
    went wrong with what it sent (RFC 1812: without "fragmentation needed" large packets vanish).
    """
    to_gateway = {"dstipaddr": str(ipaddress.IPv4Address(gateway)), "dstportstart": "53"}
    rules = [
        _rule("accept", "in", _RELATED, "all", {"state": "RELATED"}),
        _rule("accept", "out", _RELATED, "all", {"state": "RELATED"}),
        _rule("accept", "out", _OWN, "udp", {"srcportstart": "68", "dstportstart": "67"}),
        _rule("accept", "out", _OWN, "udp", to_gateway),
        _rule("accept", "out", _OWN, "tcp", to_gateway),
        *(
            Rule("accept", direction, _OWN, "icmpv6", (("type", kind),), stateful=False)
            for kind in _NEIGHBOURS
            for direction in ("in", "out")
        ),
        Rule("drop", "inout", _LAST, "all"),
        Rule("drop", "inout", _LAST, "all-ipv6"),
    ]
    return FilterSpec(name=name, rules=tuple(rules), refs=(network, *sorted(groups)))


def _allowed(rule: firewall.Rule, members: Mapping[str, Collection[str]]) -> Iterator[Rule]:
    four, six = _LAYERS[rule.protocol]
    ports = {} if rule.ports is None else {"dstportstart": str(rule.ports[0]), "dstportend": str(rule.ports[1])}
    side = "src" if rule.direction == Direction.IN else "dst"
    if rule.group or rule.cidr:
        peers = members.get(rule.group, ()) if rule.group else [rule.cidr]
        for net in ipaddress.collapse_addresses(map(ipaddress.IPv4Network, peers)):
            yield _rule("accept", rule.direction.value, _GROUP, four, _peer(side, net) | ports)
    else:
        yield _rule("accept", rule.direction.value, _GROUP, four, ports)
        yield _rule("accept", rule.direction.value, _GROUP, six, ports)


def _peer(side: str, net: ipaddress.IPv4Network) -> dict[str, str]:
    if net.prefixlen == 0:
        return {}
    there = {f"{side}ipaddr": str(net.network_address)}
    return there if net.prefixlen == net.max_prefixlen else there | {f"{side}ipmask": str(net.prefixlen)}


def _rule(action: str, direction: str, priority: int, layer: Layer, match: Mapping[str, str]) -> Rule:
    return Rule(action, direction, priority, layer, tuple(match.items()))  # type: ignore[arg-type]
