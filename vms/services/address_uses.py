"""Who had which address from when to when: written in the transactions that give and take addresses, and never changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from portal.core.clock import now
from tenants.scoping import every_tenant
from vms.models import AddressUse, Guest, Network, Port


def use_begin(port: Port, guest: Guest, network: Network, ip: str) -> None:
    """The card has the address from now on, or from when its last one let go, by a clock that was ahead of ours.

    Safe to repeat.
    """
    if AddressUse.objects.filter(ip=ip, port_id=port.pk, until=None).exists():
        return
    AddressUse.objects.create(
        tenant=guest.tenant,
        ip=ip,
        mac=port.mac,
        port_id=port.pk,
        guest_id=guest.pk,
        guest_name=guest.name,
        network_id=network.pk,
        network_name=network.name,
        since=max(now(), _free_since(ip)),
    )


def _free_since(ip: str) -> datetime:
    with every_tenant(why="an address may have been another tenant's before"):
        last = AddressUse.objects.filter(ip=ip).order_by("-since").first()
    return last.until if last is not None and last.until is not None else now()


def uses_end(ports: Iterable[Port], *, but: str | None = None) -> None:
    """The cards have no address any more, ``but`` this one. Safe to repeat."""
    at = now()
    for use in AddressUse.objects.filter(port_id__in=[port.pk for port in ports], until=None).exclude(ip=but):
        use.until = max(at, use.since)
        use.save(update_fields=["until"])
