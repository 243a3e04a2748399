"""Cards and security groups on a host, held against their rows: said by the audit, mended by the sweep."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tenants.scoping import tenant_scope
from vms.guards import cards_wanted, groups_wanted
from vms.hypervisor.engines import NetworkEngine
from vms.models import Host, Port
from vms.names import Owner
from vms.selectors.fabrics import spanned, speaks
from vms.services.guarding import port_mend_guards
from vms.services.hosts import drift_record
from vms.services.security_groups import group_follow
from vms.states import ON


def guards_differ(
    host: Host, net: NetworkEngine, owner: Owner, *, guests: Collection[str], groups: Collection[str]
) -> Iterator[str]:
    """A sentence for each guard that is not as its row says, but for ``guests`` and ``groups`` that are being worked on."""
    there = net.guards()
    here = Host.objects.filter(pk=host.pk)
    for group, wanted in groups_wanted(here, owner):
        if str(group.pk) not in groups and wanted.name in there and not net.has_group(wanted):
            yield f"I2 host {host.name}: group {group.name} is otherwise than its row says"
    for port, card in cards_wanted(here, owner):
        if str(port.guest_id) in guests or port.guest.seen_power not in ON:
            continue
        for name in sorted(net.needs(card) - there):
            yield f"I2 machine {port.guest_id}: its card's guard {name} is not there"
        if card.name in there and not net.is_guarded(card):
            yield f"I2 machine {port.guest_id}: card {port.mac} is guarded otherwise than its row says"
    if not guests and speaks(host):
        known = {wanted.name for _group, wanted in groups_wanted(spanned(host), owner)}
        known |= {card.name for _port, card in cards_wanted(spanned(host), owner)}
        ours = (f"gh-{owner.short}-g-", f"gh-{owner.short}-p-")
        for name in sorted(each for each in there - known if each.startswith(ours)):
            yield f"I2 host {host.name}: {name} guards nothing"


def guards_mend(host: Host, net: NetworkEngine, owner: Owner) -> None:
    """Have groups put in place that are otherwise here (the host was silent, somebody changed them).

    Cards are shown, and put right where that reaches a machine that runs.
    """
    there, here = net.guards(), Host.objects.filter(pk=host.pk)
    for group, wanted in groups_wanted(here, owner):
        if wanted.name in there and not net.has_group(wanted):
            drift_record(host, "other_filter", wanted.name, detail=f"group {group.name}")
            with tenant_scope(group.tenant):
                group_follow(group)
    for port, card in cards_wanted(here, owner):
        lost = card.name not in there
        if net.is_guarded(card) if not lost else not net.mends or not _is_made(port):
            continue
        kind = "missing_card" if lost else "other_filter"
        drift_record(host, kind, card.name, detail=f"card {port.mac}", guest_id=port.guest_id)
        if net.mends:
            port_mend_guards(port)


def _is_made(port: Port) -> bool:
    return port.guest.built_at is not None and port.guest.binned_at is None
