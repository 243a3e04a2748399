"""Cards and security groups on a host, held against their rows: said by the audit, mended by the sweep."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tenants.scoping import tenant_scope
from vms.guards import cards_wanted, groups_wanted
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.xml.nwfilter import FilterSpec
from vms.models import Host
from vms.names import Owner
from vms.services.hosts import drift_record
from vms.services.security_groups import group_follow
from vms.states import ON


def guards_differ(
    host: Host, hv: Hypervisor, owner: Owner, *, guests: Collection[str], groups: Collection[str]
) -> Iterator[str]:
    """A sentence for each filter that is not as its row says, but for ``guests`` and ``groups`` that are being worked on."""
    there = set(hv.filters())
    known: set[str] = set()
    for group, spec in groups_wanted(host, owner):
        known.add(spec.name)
        if str(group.pk) not in groups and spec.name in there and differs(hv, spec):
            yield f"I2 host {host.name}: group {group.name} is otherwise than its row says"
    for port, spec in cards_wanted(host, owner):
        known.add(spec.name)
        if str(port.guest_id) in guests or port.guest.seen_power not in ON:
            continue
        for name in sorted({spec.name, *spec.refs} - there):
            yield f"I2 machine {port.guest_id}: its card's filter {name} is not there"
        if spec.name in there and differs(hv, spec):
            yield f"I2 machine {port.guest_id}: the filter of card {port.mac} is otherwise than its row says"
    if not guests:
        ours = (f"gh-{owner.short}-g-", f"gh-{owner.short}-p-")
        for name in sorted(each for each in there - known if each.startswith(ours)):
            yield f"I2 host {host.name}: filter {name} guards nothing"


def guards_mend(host: Host, hv: Hypervisor, owner: Owner) -> None:
    """Have groups put in place that are otherwise here (the host was silent, somebody changed them); cards are only shown."""
    there = set(hv.filters())
    for group, spec in groups_wanted(host, owner):
        if spec.name in there and differs(hv, spec):
            drift_record(host, "other_filter", spec.name, detail=f"group {group.name}")
            with tenant_scope(group.tenant):
                group_follow(group)
    for port, spec in cards_wanted(host, owner):
        if spec.name in there and differs(hv, spec):
            drift_record(host, "other_filter", spec.name, detail=f"card {port.mac}", guest_id=port.guest_id)


def differs(hv: Hypervisor, spec: FilterSpec) -> bool:
    """Does the host have the filter otherwise, or not at all?"""
    seen = hv.filter(spec.name)
    return seen is None or seen.meaning() != spec.meaning()
