"""A project's networks with who is on them, for a drawing; a constant number of queries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from operations.selectors import operations_live_on
from tenants.actors import Actor
from vms.models import Address, Guard, Guest, Network
from vms.selectors.guests import guests_visible
from vms.states import GuestStatus

FOLD: Final = 24
"""How many machines of a network are drawn before the rest is folded away."""


@dataclass(frozen=True, slots=True)
class CardDrawn:
    """A machine on a network; ``others`` are the names of the networks it is on besides, ``groups`` of what guards it here."""

    guest: Guest
    status: GuestStatus
    ip: str
    others: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NetworkDrawn:
    """A network; ``cards`` are those that are drawn of ``number``, ``states`` how many machines are in which state."""

    network: Network
    subnet: Any
    cards: tuple[CardDrawn, ...]
    number: int
    states: Mapping[GuestStatus, int]

    @property
    def folded(self) -> int:
        """How many machines are not drawn."""
        return self.number - len(self.cards)


@dataclass(frozen=True, slots=True)
class NetworkMap:
    """Networks with a way out, those without, and the machines that are on none."""

    outward: tuple[NetworkDrawn, ...]
    isolated: tuple[NetworkDrawn, ...]
    alone: tuple[tuple[Guest, GuestStatus], ...]


def network_map(actor: Actor, *, unfolded: Collection[UUID] = ()) -> NetworkMap:
    """The networks, each with the machines that the actor sees, by name; without what is in the bin."""
    networks = list(Network.objects.prefetch_related("subnets").order_by("name"))
    rows = guests_visible(actor).filter(binned_at=None)
    guests = {
        guest.pk: guest for guest in rows.only("name", "seen_power", "built_at", "binned_at", "tenant").order_by("name")
    }
    live = operations_live_on("guest", guests)
    status = {pk: guest.status(live[pk].kind if pk in live else "") for pk, guest in guests.items()}
    held = Address.objects.filter(port__guest__in=rows.order_by().values("pk"), subnet__family=4)
    cards = list(held.values_list("port__network", "port__guest", "port", "ip"))
    guards = _names(
        Guard.objects.filter(port__guest__in=rows.order_by().values("pk")).values_list("port", "group__name")
    )
    called = {network.pk: network.name for network in networks}
    on = _names((guest, called[network]) for network, guest, _port, _ip in cards)
    by_network = defaultdict(list)
    for network, guest, port, ip in cards:
        others = tuple(name for name in on[guest] if name != called[network])
        by_network[network].append(CardDrawn(guests[guest], status[guest], ip, others, guards.get(port, ())))
    drawn = [_drawn(network, by_network[network.pk], whole=network.pk in unfolded) for network in networks]
    return NetworkMap(
        outward=tuple(each for each in drawn if each.network.outward == "nat"),
        isolated=tuple(each for each in drawn if each.network.outward != "nat"),
        alone=tuple((guest, status[pk]) for pk, guest in guests.items() if pk not in on),
    )


def _names(pairs: Iterable[tuple[UUID, str]]) -> dict[UUID, tuple[str, ...]]:
    found = defaultdict(list)
    for pk, name in pairs:
        found[pk].append(name)
    return {pk: tuple(sorted(names)) for pk, names in found.items()}


def _drawn(network: Network, cards: list[CardDrawn], *, whole: bool) -> NetworkDrawn:
    cards.sort(key=lambda card: card.guest.name)
    return NetworkDrawn(
        network=network,
        subnet=next(subnet for subnet in network.subnets.all() if subnet.family == 4),
        cards=tuple(cards if whole or len(cards) <= FOLD else cards[: FOLD - 1]),
        number=len(cards),
        states=Counter(card.status for card in cards),
    )
