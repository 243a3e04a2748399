"""Who is on a host's networks, by the rows and by the host: names follow machines that were renamed, or came and went."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from uuid import UUID

from django.db.models import QuerySet

from vms.design import filter_of
from vms.hypervisor.cards import SeenCard, SeenCards
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.errors import Missing
from vms.hypervisor.members import SeenMembers
from vms.hypervisor.xml.network import DhcpHost, DnsName
from vms.models import Address, Guest, Host, NetworkOnHost, Port
from vms.names import Owner, network_name


def members_follow(host: Host, hv: Hypervisor, owner: Owner) -> int:
    """Bring what the host's networks know in line with the rows; returns how much was changed.

    Each network is looked at before its rows are read: what was told to it in between is not taken for a stray.
    """
    changed = 0
    for use in NetworkOnHost.objects.filter(host=host):
        name = network_name(owner, use.network_id)
        try:
            seen = hv.members(name)
            for stray in _strays(use, seen):
                hv.forget(name, stray.ip, owner=owner)
                changed += 1
            for wanted, known in _unknown(use, seen):
                hv.introduce(name, host=wanted, name=known.name, owner=owner)
                changed += 1
        except Missing:
            continue  # taken off the host just now, or to be made by the next start there
    return changed


def members_differ(host: Host, hv: Hypervisor, owner: Owner, *, busy: Collection[str]) -> Iterator[str]:
    """I2: each network of the host answers the names of the machines on it, and no others; ``busy`` machines aside."""
    for use in NetworkOnHost.objects.filter(host=host).select_related("network"):
        try:
            seen = hv.members(network_name(owner, use.network_id))
        except Missing:
            continue
        for stray in _strays(use, seen):
            yield f"I2 host {host.name}: network {use.network_id} answers {stray.name} with {stray.ip}, which is not so"
        for wanted, known in _unknown(use, seen, but=busy):
            yield f"I2 host {host.name}: network {use.network_id} does not know {known.name} at {wanted.ip} ({wanted.mac})"


def cards_differ(guest: Guest, seen: SeenCards, owner: Owner) -> Iterator[str]:
    """I2: a machine has exactly the cards that its rows say, each speaking as its address alone, now and at its next start."""
    ports = Port.objects.filter(guest=guest).prefetch_related("addresses", "guards")
    wanted = {
        SeenCard(
            port.mac,
            network_name(owner, port.network_id),
            filter_of(port, owner),
            port.addresses.all()[0].ip,
        )
        for port in ports
    }
    for name, cards in (("has", seen.live), ("would start with", seen.kept)):
        if cards is not None and set(cards) != wanted:
            found = sorted((card.mac, card.ip) for card in cards)
            yield f"I2 machine {guest.pk} {name} the cards {found}, its rows say {sorted((c.mac, c.ip) for c in wanted)}"


def _strays(use: NetworkOnHost, seen: SeenMembers) -> list[DnsName]:
    rows = _rows(use).values_list("ip", "port__guest__name")
    return sorted(seen.names - {DnsName(ip=ip, name=name) for ip, name in rows})


def _unknown(use: NetworkOnHost, seen: SeenMembers, *, but: Collection[str] = ()) -> list[tuple[DhcpHost, DnsName]]:
    rows = _rows(use).filter(port__guest__built_at__isnull=False).exclude(port__guest__in=[UUID(pk) for pk in but])
    pairs = [
        (DhcpHost(mac=mac, ip=ip), DnsName(ip=ip, name=name))
        for mac, ip, name in rows.order_by("ip").values_list("port__mac", "ip", "port__guest__name")
    ]
    return [(host, name) for host, name in pairs if host not in seen.hosts or name not in seen.names]


def _rows(use: NetworkOnHost) -> QuerySet[Address]:
    return Address.objects.filter(
        port__network=use.network_id, subnet__family=4, port__guest__host=use.host_id, port__guest__binned_at=None
    )
