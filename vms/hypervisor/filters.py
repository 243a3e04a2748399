"""The packet filter of tenants' guests: stateless, at the level of Ethernet frames, one per network.

A guest may speak as itself (its MAC and IPv4 address, or an IPv6 link-local address), to its own subnet, to its gateway
for DHCP, DNS and ping, and to the public internet. It may not reach any other private or special address: those are the
host, the portal, other tenants and the operator's own network. Whatever is not said here is dropped.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Literal

from vms.firewall import SPECIAL
from vms.hypervisor.xml.nwfilter import FilterSpec, Rule

type Match = dict[str, str]
type Action = Literal["accept", "drop"]
type Layer = Literal["mac", "arp", "ip", "ipv6"]

_UDP: Match = {"protocol": "udp"}
_TCP: Match = {"protocol": "tcp"}
_ICMP: Match = {"protocol": "icmp"}
_ICMPV6: Match = {"protocol": "icmpv6"}
_NOT: Match = {"match": "no"}
_ROUTER_ADVERTISEMENT, _REDIRECT = "134", "137"


def guest_filter(*, name: str, subnet: str, gateway: str, forbidden: Sequence[str] = ()) -> FilterSpec:
    """The filter of every guest on the network ``subnet`` (``10.5.0.0/24``) whose host side is ``gateway``.

    ``forbidden`` are more IPv4 addresses or networks no guest may reach: the host's public addresses, the portal's.
    Each NIC gives its own address as the variable ``$IP``. Raises ``ValueError`` for what is no IPv4 address.
    """
    net = ipaddress.IPv4Network(subnet)
    host = ipaddress.IPv4Address(gateway)
    extra = [ipaddress.IPv4Network(each) for each in forbidden]
    rules = [*_identity(), *_arp(), *_ipv4_out(net, host, extra), *_ipv4_in(net, host), *_ipv6(), _nothing_else()]
    return FilterSpec(name=name, rules=tuple(rules))


def _identity() -> list[Rule]:
    return [_out("drop", -900, "mac", _NOT | {"srcmacaddr": "$MAC"})]


def _arp() -> list[Rule]:
    """ARP in the guest's own name; a probe for a duplicate (RFC 5227) has no sender address yet."""
    return [
        _out("drop", -800, "arp", _NOT | {"arpsrcmacaddr": "$MAC"}),
        _out("accept", -790, "arp", {"opcode": "Request", "arpsrcipaddr": "0.0.0.0"}),
        _out("drop", -780, "arp", _NOT | {"arpsrcipaddr": "$IP"}),
        _out("accept", -770, "arp", {"opcode": "Request"}),
        _out("accept", -770, "arp", {"opcode": "Reply"}),
        _in("accept", -770, "arp", {"opcode": "Request"}),
        _in("accept", -770, "arp", {"opcode": "Reply"}),
    ]


def _ipv4_out(
    net: ipaddress.IPv4Network, host: ipaddress.IPv4Address, forbidden: Sequence[ipaddress.IPv4Network]
) -> list[Rule]:
    anywhere: Match = {"srcipaddr": "0.0.0.0", "dstipaddr": "255.255.255.255"}
    dhcp: Match = _UDP | {"srcportstart": "68", "dstportstart": "67"}
    return [
        _out("accept", -700, "ip", dhcp | anywhere),
        _out("drop", -690, "ip", _NOT | {"srcipaddr": "$IP"}),
        # A DHCP server's answers have no business leaving a guest.
        _out("drop", -680, "ip", _UDP | {"srcportstart": "67"}),
        *_to_gateway({"dstipaddr": str(host)}, dhcp),
        *(_out("drop", -650, "ip", _to(each)) for each in forbidden),
        _out("accept", -640, "ip", _to(net)),
        *(_out("drop", -630, "ip", _to(ipaddress.IPv4Network(each))) for each in SPECIAL),
        _out("accept", -620, "ip"),
    ]


def _to_gateway(host: Match, dhcp: Match) -> list[Rule]:
    return [
        _out("accept", -670, "ip", _UDP | host | {"dstportstart": "53"}),
        _out("accept", -670, "ip", _TCP | host | {"dstportstart": "53"}),
        _out("accept", -670, "ip", dhcp | host),
        _out("accept", -670, "ip", _ICMP | host),
        _out("drop", -660, "ip", host),
    ]


def _ipv4_in(net: ipaddress.IPv4Network, host: ipaddress.IPv4Address) -> list[Rule]:
    """To the guest: what is addressed to it or to its subnet, and DHCP answers from the gateway alone."""
    answer = _UDP | {"srcportstart": "67", "dstportstart": "68"}
    return [
        _in("accept", -700, "ip", answer | {"srcipaddr": str(host)}),
        _in("drop", -690, "ip", answer),
        _in("accept", -680, "ip", {"dstipaddr": "$IP"}),
        _in("accept", -680, "ip", {"dstipaddr": str(net.broadcast_address)}),
    ]


def _ipv6() -> list[Rule]:
    """Link-local only: neighbours may talk, nobody may play router or DHCP server, and nothing is routed."""
    link_local: Match = {"srcipaddr": "fe80::", "srcipmask": "10"}
    neighbour: Match = link_local | {"dstipaddr": "fe80::", "dstipmask": "10"}
    group: Match = {"dstipaddr": "ff02::", "dstipmask": "16"}
    # Is my address taken? The unspecified address asks the solicited-node group (RFC 4862).
    duplicate: Match = _ICMPV6 | {"srcipaddr": "::"} | group
    rogue = (
        _ICMPV6 | {"type": _ROUTER_ADVERTISEMENT},
        _ICMPV6 | {"type": _REDIRECT},
        _UDP | {"srcportstart": "547"},
    )
    return [
        *(_out("drop", -500, "ipv6", match) for match in rogue),
        *(_in("drop", -500, "ipv6", match) for match in rogue),
        _out("accept", -490, "ipv6", neighbour),
        _out("accept", -490, "ipv6", link_local | group),
        _out("accept", -490, "ipv6", duplicate),
        _in("accept", -490, "ipv6", link_local),
        _in("accept", -490, "ipv6", duplicate),
    ]


def _nothing_else() -> Rule:
    """VLAN tags, RARP, spanning tree, PPPoE and all the rest."""
    return Rule("drop", "inout", 1000)


def _to(net: ipaddress.IPv4Network) -> Match:
    return {"dstipaddr": str(net.network_address), "dstipmask": str(net.prefixlen)}


def _out(action: Action, priority: int, layer: Layer, match: Match | None = None) -> Rule:
    return Rule(action, "out", priority, layer, tuple((match or {}).items()))


def _in(action: Action, priority: int, layer: Layer, match: Match | None = None) -> Rule:
    return Rule(action, "in", priority, layer, tuple((match or {}).items()))
