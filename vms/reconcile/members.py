"""Who is on a host's networks, by the rows and by the host: names follow machines that were renamed, or came and went."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from uuid import UUID

from django.db.models import QuerySet

from vms.design import card_limit
from vms.guards import card_wanted, ports_wanted
from vms.hypervisor.cards import SeenCards
from vms.hypervisor.engines import Card, NetworkEngine, seen_as
from vms.hypervisor.errors import Missing
from vms.hypervisor.members import SeenMembers
from vms.hypervisor.xml.network import DhcpHost, DnsName
from vms.models import Address, Guest, Host, NetworkOnHost, Port
from vms.names import Owner, network_name
from vms.selectors.fabrics import spanned


def members_follow(host: Host, net: NetworkEngine, owner: Owner) -> int:
    """Bring what the host's networks know in line with the rows; returns how much was changed.

    Each network is looked at before its rows are read: what was told to it in between is not taken for a stray.
    """
    changed = 0
    for use in NetworkOnHost.objects.filter(host=host).select_related("host__pool"):
        name = network_name(owner, use.network_id)
        try:
            seen = net.members(name)
            for stray in _strays(use, seen):
                net.forget(name, stray.ip)
                changed += 1
            for card in _unknown(use, seen, owner):
                net.introduce(card)
                changed += 1
        except Missing:
            continue  # taken off the host just now, or to be made by the next start there
    return changed


def members_differ(host: Host, net: NetworkEngine, owner: Owner, *, busy: Collection[str]) -> Iterator[str]:
    """I2: each network of the host answers the names of the machines on it, and no others; ``busy`` machines aside."""
    for use in NetworkOnHost.objects.filter(host=host).select_related("network", "host__pool"):
        try:
            seen = net.members(network_name(owner, use.network_id))
        except Missing:
            continue
        for stray in _strays(use, seen):
            yield f"I2 host {host.name}: network {use.network_id} answers {stray.name} with {stray.ip}, which is not so"
        for card in _unknown(use, seen, owner, but=busy):
            yield f"I2 host {host.name}: network {use.network_id} does not know {card.machine} at {card.ip} ({card.mac})"


def cards_differ(guest: Guest, host: Host, seen: SeenCards, net: NetworkEngine, owner: Owner) -> Iterator[str]:
    """I2: a machine has exactly the cards that its rows say, now and at its next start, each speaking as its address alone and
    no faster than it may."""
    ports = ports_wanted(Port.objects.filter(guest=guest))
    wanted = {seen_as(net.plug(card_wanted(port, owner), bandwidth=card_limit(port, guest, host))) for port in ports}
    for name, cards in (("has", seen.live), ("would start with", seen.kept)):
        if cards is not None and set(cards) != wanted:
            found, said = (sorted((card.mac, card.ip, card.limits) for card in each) for each in (cards, wanted))
            yield f"I2 machine {guest.pk} {name} the cards {found}, its rows say {said}"


def _strays(use: NetworkOnHost, seen: SeenMembers) -> list[DnsName]:
    rows = _rows(use).values_list("ip", "port__guest__name")
    return sorted(seen.names - {DnsName(ip=ip, name=name) for ip, name in rows})


def _unknown(use: NetworkOnHost, seen: SeenMembers, owner: Owner, *, but: Collection[str] = ()) -> list[Card]:
    rows = _rows(use).filter(port__guest__built_at__isnull=False).exclude(port__guest__in=[UUID(pk) for pk in but])
    cards = [card_wanted(port, owner) for port in ports_wanted(Port.objects.filter(addresses__in=rows)).distinct()]
    return sorted((card for card in cards if not _is_known(card, seen)), key=lambda card: card.ip)


def _is_known(card: Card, seen: SeenMembers) -> bool:
    return DhcpHost(mac=card.mac, ip=card.ip) in seen.hosts and DnsName(ip=card.ip, name=card.machine) in seen.names


def _rows(use: NetworkOnHost) -> QuerySet[Address]:
    return Address.objects.filter(
        port__network=use.network_id,
        subnet__family=4,
        port__guest__host__in=spanned(use.host),
        port__guest__binned_at=None,
    )
