"""Policy: which packet filters guard the cards of a host's machines. Reads rows, returns the hypervisor's specs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vms.firewall import Rule
from vms.hypervisor.groups import group_filter, port_filter
from vms.hypervisor.xml.nwfilter import FilterSpec
from vms.models import Host, Port, SecurityGroup
from vms.names import Owner, card_name, filter_name, group_name
from vms.selectors.security_groups import groups_named, groups_on, members_of


def group_spec(group: SecurityGroup, rules: list[dict[str, Any]], owner: Owner) -> FilterSpec:
    """What a group allows by ``rules``."""
    read = [Rule.of(each) for each in rules]
    return group_filter(name=group_name(owner, group.pk), rules=read, members=members_of(groups_named(read)))


def card_spec(port: Port, owner: Owner) -> FilterSpec:
    """A guarded card's filter; its network's and its groups' must be on the host before it."""
    return port_filter(
        name=card_name(owner, port.pk),
        network=filter_name(owner, port.network_id),
        groups=[group_name(owner, guard.group_id) for guard in port.guards.all()],
        gateway=next(subnet.gateway for subnet in port.network.subnets.all() if subnet.family == 4),
    )


def groups_wanted(host: Host, owner: Owner) -> Iterator[tuple[SecurityGroup, FilterSpec]]:
    """The groups that guard a machine of that host, as they were last put in place."""
    for group in groups_on(host):
        yield group, group_spec(group, group.applied, owner)


def cards_wanted(host: Host, owner: Owner) -> Iterator[tuple[Port, FilterSpec]]:
    """The guarded cards of machines that are on that host."""
    ports = Port.objects.filter(guest__host=host, guards__isnull=False).distinct().order_by("pk")
    for port in ports.select_related("network", "guest").prefetch_related("guards", "network__subnets"):
        yield port, card_spec(port, owner)
