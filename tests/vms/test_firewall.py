"""What a packet may do, against a plain reading of the rules."""

from __future__ import annotations

import ipaddress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from vms.firewall import Direction, Packet, Protocol, Rule, allowing, allows

ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.1.9", "192.0.2.7"]
GROUPS = ["a", "b"]
PORTS = [1, 22, 80, 65535]
CIDRS = ["", "0.0.0.0/0", "10.0.0.0/24", "10.0.0.0/8", "10.0.1.9/32"]
CARRIED = [Protocol.TCP, Protocol.UDP, Protocol.ICMP]


@some.composite
def rules(draw: some.DrawFn) -> Rule:
    protocol = draw(some.sampled_from(list(Protocol)))
    ports = None
    if protocol.has_ports and draw(some.booleans()):
        first, last = sorted((draw(some.sampled_from(PORTS)), draw(some.sampled_from(PORTS))))
        ports = first, last
    cidr = draw(some.sampled_from(CIDRS))
    group = "" if cidr else draw(some.sampled_from(["", *GROUPS]))
    return Rule(
        direction=draw(some.sampled_from(list(Direction))), protocol=protocol, ports=ports, cidr=cidr, group=group
    )


@some.composite
def packets(draw: some.DrawFn) -> Packet:
    protocol = draw(some.sampled_from(CARRIED))
    port = draw(some.sampled_from(PORTS)) if protocol.has_ports else None
    source, destination = draw(some.sampled_from(ADDRESSES)), draw(some.sampled_from(ADDRESSES))
    return Packet(source=source, destination=destination, protocol=protocol, port=port)


MEMBERS = some.dictionaries(some.sampled_from(GROUPS), some.frozensets(some.sampled_from(ADDRESSES)))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some.lists(rules(), max_size=5), packets(), MEMBERS, some.sampled_from(list(Direction)))
def test_a_packet_passes_if_one_rule_means_it(
    those: list[Rule], packet: Packet, members: dict[str, frozenset[str]], direction: Direction
) -> None:
    peer = {Direction.IN: packet.source, Direction.OUT: packet.destination}[direction]

    def means(rule: Rule) -> bool:
        by_peer = {
            True: not rule.group and not rule.cidr,
            bool(rule.cidr): bool(rule.cidr)
            and ipaddress.ip_address(peer) in ipaddress.ip_network(rule.cidr or "::/0"),
        }
        in_group = bool(rule.group) and peer in members.get(rule.group, ())
        carried = {Protocol.ANY: set(CARRIED)}.get(rule.protocol, {rule.protocol})
        first, last = rule.ports or (0, 1 << 20)
        reached = rule.ports is None or first <= (packet.port or 0) <= last
        return (
            direction == rule.direction
            and packet.protocol in carried
            and reached
            and (any(by_peer.values()) or in_group)
        )

    assert (allowing(those, direction, packet, members) is not None) == any(means(rule) for rule in those)


@given(rules())
def test_what_is_kept_is_what_was_said(rule: Rule) -> None:
    assert Rule.of(rule.as_dict()) == rule


@given(rules(), packets(), MEMBERS)
def test_more_members_never_let_less_through(rule: Rule, packet: Packet, members: dict[str, frozenset[str]]) -> None:
    everybody = dict.fromkeys(GROUPS, frozenset(ADDRESSES))
    for direction in Direction:
        if allows(rule, direction, packet, members):
            assert allows(rule, direction, packet, everybody)
