"""Policy: what a host's engine is asked for of cards and security groups. Reads rows, returns the hypervisor's specs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from vms.firewall import Rule
from vms.hypervisor.engines import Card, Group
from vms.models import Host, Port, SecurityGroup
from vms.names import Owner, card_name, group_name, network_name
from vms.selectors.security_groups import groups_named, groups_on, members_of


def group_wanted(group: SecurityGroup, rules: list[dict[str, Any]], owner: Owner) -> Group:
    """What a group allows by ``rules``."""
    read = tuple(Rule.of(each) for each in rules)
    return Group(name=group_name(owner, group.pk), rules=read, members=members_of(groups_named(read)))


def card_wanted(port: Port, owner: Owner) -> Card:
    """A card as its rows say; ``addresses``, ``guards``, ``guest`` and the network's ``subnets`` are read."""
    return Card(
        name=card_name(owner, port.pk),
        network=network_name(owner, port.network_id),
        mac=port.mac,
        ip=next(address.ip for address in port.addresses.all()),
        gateway=next(subnet.gateway for subnet in port.network.subnets.all() if subnet.family == 4),
        machine=port.guest.name,
        groups=tuple(sorted(group_name(owner, guard.group_id) for guard in port.guards.all())),
    )


def ports_wanted(ports: QuerySet[Port]) -> QuerySet[Port]:
    """These cards with what ``card_wanted`` reads, in a number of queries that does not grow."""
    return ports.select_related("network", "guest").prefetch_related("addresses", "guards", "network__subnets")


def groups_wanted(hosts: QuerySet[Host], owner: Owner) -> Iterator[tuple[SecurityGroup, Group]]:
    """The groups that guard a machine of these hosts, as they were last put in place."""
    for group in groups_on(hosts):
        yield group, group_wanted(group, group.applied, owner)


def cards_wanted(hosts: QuerySet[Host], owner: Owner) -> Iterator[tuple[Port, Card]]:
    """The guarded cards of machines that are on these hosts."""
    ports = Port.objects.filter(guest__host__in=hosts, guards__isnull=False).distinct().order_by("pk")
    for port in ports_wanted(ports):
        yield port, card_wanted(port, owner)
