"""How fast cards are on a host, held against their rows: limits that somebody changed there, or that a size has since changed."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from vms.design import card_limit
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.errors import Missing
from vms.hypervisor.xml.devices import Bandwidth
from vms.models import Host, Port
from vms.services.hosts import drift_record
from vms.services.limiting import port_mend_limit


def limits_mend(host: Host, hv: Hypervisor, *, guests: Collection[str]) -> None:
    """Show each card of ``guests`` (ids) that is otherwise than its rows say; one that was so before is set right."""
    cards: dict[str, dict[str, set[tuple[int, int]]]] = {}
    rows = (
        Port.objects.filter(guest__host=host, guest__in=[UUID(pk) for pk in guests])
        .select_related("guest__flavor", "tenant")
        .order_by("guest", "position")
    )
    for port in rows:
        uuid = str(port.guest_id)
        if uuid not in cards:
            cards[uuid] = _limits(hv, uuid)
        wanted = (card_limit(port, port.guest, host) or Bandwidth()).kib
        if cards[uuid].get(port.mac, {wanted}) != {wanted}:
            found = ", ".join(f"{inbound}/{outbound}" for inbound, outbound in sorted(cards[uuid][port.mac]))
            detail = f"{found} KiB/s in/out instead of {wanted[0]}/{wanted[1]}"
            drift = drift_record(host, "other_speed", f"card {port.mac}", detail=detail, guest_id=port.guest_id)
            if drift.sightings > 1:
                port_mend_limit(port)


def _limits(hv: Hypervisor, uuid: str) -> dict[str, set[tuple[int, int]]]:
    """By MAC: the limits in each definition of the machine; none where it has just gone."""
    try:
        everywhere = hv.cards(uuid).everywhere()
    except Missing:
        return {}
    found: dict[str, set[tuple[int, int]]] = {}
    for card in (card for cards in everywhere for card in cards):
        found.setdefault(card.mac, set()).add(card.limits)
    return found
