"""From the project's rows to the way between two places (``vms.reach``), and what is found there in a customer's words."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.errors import FieldError, Invalid
from portal.core.ids import uuid_or_none
from tenants.actors import Actor
from tenants.policy import Permission
from vms import reach
from vms.firewall import Protocol, Rule
from vms.models import Address, Guest, Network, Port
from vms.reach import Call, Card, Code, Group, Hop, Neighbours, Outside, Source, Target
from vms.selectors.fabrics import own_addresses
from vms.selectors.guests import SECRETS, guests_visible
from vms.selectors.security_groups import groups_named, members_of
from vms.states import HostState, Power

OUTSIDE: Final = "outside"
WORDS: Final[Mapping[Code, str | Promise]] = {
    Code.ON: gettext_lazy("%(at)s is running."),
    Code.OFF: gettext_lazy("%(at)s is not running."),
    Code.SILENT: gettext_lazy("The host of %(at)s does not answer, so nobody knows whether it runs."),
    Code.CARD: gettext_lazy(
        "It leaves by the card on %(network)s, as %(ip)s; the packet filter lets it speak as nothing else."
    ),
    Code.NO_ROUTE: gettext_lazy("%(at)s has no card that leads there: only its first one has a default route."),
    Code.SAME_NETWORK: gettext_lazy("Both are on %(network)s."),
    Code.OTHER_NETWORK: gettext_lazy(
        "Networks are apart: from %(network)s nobody reaches machines on another network."
    ),
    Code.OTHER_HOST: gettext_lazy("Both are on %(network)s, but on different hosts, which this network does not join."),
    Code.GATEWAY: gettext_lazy("The gateway of %(network)s answers questions for names, and pings."),
    Code.GATEWAY_CLOSED: gettext_lazy(
        "The gateway of %(network)s answers questions for names, and pings, and nothing else."
    ),
    Code.NOBODY: gettext_lazy("You see no machine on %(network)s that has the address %(ip)s."),
    Code.PRIVATE: gettext_lazy(
        "%(ip)s is a private address or the platform's own; machines call none beyond their network."
    ),
    Code.ISOLATED: gettext_lazy("%(network)s has no way out."),
    Code.WAY_OUT: gettext_lazy("%(network)s has a way out; others see its host's address."),
    Code.NO_WAY_IN: gettext_lazy(
        "Nobody outside can begin a conversation with a machine on %(network)s: its addresses are private."
    ),
    Code.ALWAYS: gettext_lazy("Every machine may ask its gateway for names."),
    Code.RULE_OUT: gettext_lazy("A rule of %(group)s lets %(at)s call."),
    Code.NO_RULE_OUT: gettext_lazy("No security group of %(at)s has a rule that lets this out."),
    Code.RULE_IN: gettext_lazy("A rule of %(group)s lets it in to %(at)s."),
    Code.SOME_IN: gettext_lazy("A rule of %(group)s lets some of them in to %(at)s, not all."),
    Code.NO_RULE_IN: gettext_lazy("No security group of %(at)s has a rule that lets this in."),
    Code.UNGUARDED: gettext_lazy("No security group guards this card of %(at)s."),
    Code.THEIRS: gettext_lazy("Whether whoever calls from %(network)s may, its own security groups say."),
    Code.INSIDE: gettext_lazy("Whether something listens there, and what its own firewall lets in, only %(at)s knows."),
}
"""A sentence for each thing that can be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The way between two places: what they are called, every hop, and whether it leads there (None: cannot be told)."""

    source: str
    target: str
    call: Call
    hops: tuple[Hop, ...]

    @property
    def reaches(self) -> bool | None:
        """Nothing that can be seen from here stops it."""
        return reach.reaches(self.hops)


def sentence(hop: Hop) -> str:
    """What was found, in words."""
    names = {"at": hop.at, "network": hop.network, "ip": hop.ip, "group": hop.group.name if hop.group else ""}
    return str(WORDS[hop.code]) % names


def way_between(actor: Actor, source: str, target: str, protocol: str, port: int | None) -> Way:
    """The way from ``source`` to ``target``: a machine by its id, name or address, an address elsewhere; from a network, too, or
    from ``outside``. A constant number of queries.

    Raises ``Invalid`` for what is neither, and where the call makes no sense. What the actor may not see is not there.
    """
    actor.require(Permission.NETWORK_VIEW)
    errors: list[FieldError] = []
    call = _call(protocol, port, errors)
    begin, begin_name = _source(actor, source, errors)
    end, end_name = _target(actor, target, errors)
    if errors or begin is None or end is None or call is None:
        raise Invalid(errors=errors)
    if isinstance(end, Outside) and isinstance(begin, Outside | Neighbours):
        raise Invalid(errors=[FieldError("/to", "no_machine", _("One of both must be a machine of this project."))])
    if isinstance(begin, tuple) and isinstance(end, tuple) and begin[0].guest == end[0].guest:
        raise Invalid(errors=[FieldError("/to", "same", _("A machine always reaches itself."))])
    rules = (rule for cards in (begin, end) for group in _groups(cards) for rule in group.rules)
    hops = reach.path(begin, end, call, members_of(groups_named(rules)))
    return Way(source=begin_name, target=end_name, call=call, hops=hops)


def _groups(cards: Source | Target) -> tuple[Group, ...]:
    if isinstance(cards, Outside | Neighbours):
        return ()
    return tuple(group for card in cards for group in card.groups or ())


def _call(protocol: str, port: int | None, errors: list[FieldError]) -> Call | None:
    if protocol not in (Protocol.TCP, Protocol.UDP, Protocol.ICMP):
        errors.append(FieldError("/protocol", "invalid_choice", _("Say tcp, udp or icmp.")))
        return None
    carried = Protocol(protocol)
    if not carried.has_ports:
        return Call(protocol=carried)
    if port is None or not 0 < port < 65536:
        errors.append(FieldError("/port", "invalid_port", _("A port is a number from 1 to 65535.")))
        return None
    return Call(protocol=carried, port=port)


def _source(actor: Actor, text: str, errors: list[FieldError]) -> tuple[Source | None, str]:
    if text == OUTSIDE:
        return Outside(), OUTSIDE
    found, name = _place(actor, text, "/from", [])
    if found is not None:
        return found, name
    pk = uuid_or_none(text)
    network = (
        Network.objects.filter(**({"name": text} if pk is None else {"pk": pk})).prefetch_related("subnets").first()
    )
    if network is not None:
        return Neighbours(network.name, _subnet(network).cidr), network.name
    errors.append(_unknown("/from"))
    return None, ""


def _target(actor: Actor, text: str, errors: list[FieldError]) -> tuple[Target | None, str]:
    return _place(actor, text, "/to", errors)


def _place(
    actor: Actor, text: str, pointer: str, errors: list[FieldError]
) -> tuple[tuple[Card, ...] | Outside | None, str]:
    """A machine's cards, or an address that is nobody's here."""
    guests, pk, ip = guests_visible(actor), uuid_or_none(text), _plain(text)
    if ip is not None:
        holder = Address.objects.filter(ip=ip, port__guest__in=guests.values("pk")).values_list(
            "port__guest", flat=True
        )
        guest = guests.filter(pk__in=holder[:1]).first()
        if guest is None:
            return Outside(ip), ip
        return tuple(card for card in _cards(guest) if card.ip == ip), f"{guest.name} ({ip})"
    guest = guests.filter(**({"name": text} if pk is None else {"pk": pk})).first()
    if guest is None:
        errors.append(_unknown(pointer))
        return None, ""
    cards = _cards(guest)
    if not cards:
        errors.append(FieldError(pointer, "no_card", _("This machine has no network card.")))
        return None, ""
    return cards, guest.name


def _unknown(pointer: str) -> FieldError:
    return FieldError(pointer, "unknown", _("There is nothing of that id, name or address."))


def _plain(text: str) -> str | None:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        return None


def _cards(guest: Guest) -> tuple[Card, ...]:
    rows = Port.objects.filter(guest=guest).select_related("network", "guest__host__pool").order_by("position")
    rows = rows.prefetch_related("addresses", "guards__group", "network__subnets")
    return tuple(_card(port) for port in rows.defer(*(f"guest__{name}" for name in SECRETS)))


def _card(port: Port) -> Card:
    subnet, host = _subnet(port.network), port.guest.host
    is_heard = host is not None and host.state == HostState.UP and port.guest.seen_power != Power.UNKNOWN
    guards = sorted(port.guards.all(), key=lambda guard: guard.group.name)
    return Card(
        guest=port.guest.name,
        ip=next(address.ip for address in port.addresses.all()),
        network=port.network.name,
        range=subnet.cidr,
        gateway=subnet.gateway,
        isolated=port.network.outward != "nat",
        first=port.position == 0,
        routes=tuple(route["to"] for route in subnet.routes),
        barred=own_addresses(host) if host is not None else (),
        groups=tuple(_group(guard.group) for guard in guards) or None,
        runs=port.guest.seen_power == Power.RUNNING if is_heard else None,
        host=str((host.pool.fabric_id or host.pk) if host is not None else ""),
    )


def _group(group: Any) -> Group:
    return Group(pk=str(group.pk), name=group.name, rules=tuple(Rule.of(each) for each in group.applied))


def _subnet(network: Network) -> Any:
    return next(subnet for subnet in network.subnets.all() if subnet.family == 4)
