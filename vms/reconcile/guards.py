"""Cards and security groups on a host, held against their rows: said by the audit, mended by the sweep."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tenants.scoping import tenant_scope
from vms.guards import cards_wanted, groups_wanted
from vms.hypervisor.engines import NetworkEngine
from vms.models import Host
from vms.names import Owner
from vms.services.hosts import drift_record
from vms.services.security_groups import group_follow
from vms.states import ON


def guards_differ(
    host: Host, net: NetworkEngine, owner: Owner, *, guests: Collection[str], groups: Collection[str]
) -> Iterator[str]:
    """A sentence for each guard that is not as its row says, but for ``guests`` and ``groups`` that are being worked on."""
    there = net.guards()
    known: set[str] = set()
    for group, wanted in groups_wanted(host, owner):
        known.add(wanted.name)
        if str(group.pk) not in groups and wanted.name in there and not net.has_group(wanted):
            yield f"I2 host {host.name}: group {group.name} is otherwise than its row says"
    for port, card in cards_wanted(host, owner):
        known.add(card.name)
        if str(port.guest_id) in guests or port.guest.seen_power not in ON:
            continue
        for name in sorted(net.needs(card) - there):
            yield f"I2 machine {port.guest_id}: its card's guard {name} is not there"
        if card.name in there and not net.is_guarded(card):
            yield f"I2 machine {port.guest_id}: card {port.mac} is guarded otherwise than its row says"
    if not guests:
        ours = (f"gh-{owner.short}-g-", f"gh-{owner.short}-p-")
        for name in sorted(each for each in there - known if each.startswith(ours)):
            yield f"I2 host {host.name}: {name} guards nothing"


def guards_mend(host: Host, net: NetworkEngine, owner: Owner) -> None:
    """Have groups put in place that are otherwise here (the host was silent, somebody changed them); cards are only shown."""
    there = net.guards()
    for group, wanted in groups_wanted(host, owner):
        if wanted.name in there and not net.has_group(wanted):
            drift_record(host, "other_filter", wanted.name, detail=f"group {group.name}")
            with tenant_scope(group.tenant):
                group_follow(group)
    for port, card in cards_wanted(host, owner):
        if card.name in there and not net.is_guarded(card):
            drift_record(host, "other_filter", card.name, detail=f"card {port.mac}", guest_id=port.guest_id)
