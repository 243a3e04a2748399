"""The one interface between the portal and what carries machines' packets: one host's libvirt, or a fabric over many hosts.

No Django here. Everything is known by the names that ``vms.names`` gives it. Every verb is safe to repeat: it reads what is so,
and does nothing where it already is as asked. Every verb raises only subclasses of ``HypervisorError``. What is not ours is
never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from vms import firewall
from vms.hypervisor.cards import SeenCard
from vms.hypervisor.driver import SeenNetwork
from vms.hypervisor.members import SeenMembers
from vms.hypervisor.xml.devices import Bandwidth, Model, Nic
from vms.hypervisor.xml.network import NetworkSpec

NOBODY: Final[Mapping[str, frozenset[str]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A network as it is wanted: its shape, and ``forbidden``, what no machine on it may reach beyond what is forbidden to all.

    ``forbidden`` are IPv4 addresses or ranges: the host's own.
    """

    spec: NetworkSpec
    forbidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A machine's card as it is wanted on its network: who it is, what its machine is called, and which groups guard it.

    ``name`` is the card's own, ``network`` its network's, whose gateway is ``gateway``. ``groups`` are names; a card with none is
    from before there were groups.
    """

    name: str
    network: str
    mac: str
    ip: str
    gateway: str
    machine: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What one security group allows; ``members`` has the IPv4 addresses of the groups, by id, that its rules name."""

    name: str
    rules: tuple[firewall.Rule, ...]
    members: Mapping[str, frozenset[str]] = field(default_factory=lambda: NOBODY)


class NetworkEngine(Protocol):
    """The networks that a host's machines are on, their cards, and what guards those."""

    @property
    def mends(self) -> bool:
        """Does giving back what was lost reach machines that run?"""

    # --- networks -----------------------------------------------------------------------------------------------------
    def networks(self) -> tuple[SeenNetwork, ...]:
        """All there are, foreign ones among them."""

    def standing(self, names: Collection[str]) -> frozenset[str]:
        """Those of these networks that carry packets, each with what its machines may never do; whosever they are."""

    def has_network(self, net: Net) -> bool:
        """Is it there, as far as can be read back as it is wanted?"""

    def bar(self, net: Net) -> None:
        """What its machines may never do is kept, where an engine keeps that apart from the network."""

    def ensure_network(self, net: Net) -> None:
        """There, as it is wanted, and carrying packets; ``bar`` was called before it.

        ``Busy`` where it must be taken down for that and machines are plugged in.
        """

    def remove_network(self, name: str) -> None:
        """Gone; one that is gone is fine. ``Refused`` where it is not ours."""

    def unbar(self, name: str) -> None:
        """What ``bar`` kept is gone; so is the network."""

    # --- who is on them -----------------------------------------------------------------------------------------------
    def members(self, network: str) -> SeenMembers:
        """Who is given which address there, and which names are answered; ``Missing`` where there is no such network."""

    def introduce(self, card: Card) -> None:
        """Have the network give the card its address, and answer its machine's name with it.

        Whatever else has that card, that address or that name gives way. ``Missing`` where there is no such network, ``Refused``
        where it is not ours.
        """

    def forget(self, network: str, ip: str) -> None:
        """Have no name lead to that address any more; a network that is not there has none."""

    def drop_card(self, card: Card) -> None:
        """Nothing is kept for the card any more; its name is forgotten, and its machine has let go of it."""

    # --- what guards them ---------------------------------------------------------------------------------------------
    def guards(self, names: Collection[str] | None = None) -> frozenset[str]:
        """The names, or those of these, under which networks', groups' and cards' guards are there, foreign ones among them.

        All of them are many on a fabric: only a sweep asks for them.
        """

    def has_group(self, group: Group) -> bool:
        """Is it there, and exactly so?"""

    def ensure_group(self, group: Group) -> None:
        """There exactly so, for all cards that it guards, or as before: ``Refused``."""

    def drop_group(self, name: str) -> None:
        """Gone; one that is gone is fine. It guards no card any more."""

    def needs(self, card: Card) -> frozenset[str]:
        """The names out of ``guards`` that must be there for this card."""

    def is_guarded(self, card: Card) -> bool:
        """Is the card guarded exactly as it is wanted?"""

    def guard(self, card: Card) -> None:
        """Guarded so; its groups and its network are there. A card with groups is guarded before it is plugged in."""

    def unguard(self, card: Card) -> None:
        """Nothing of its own guards the card any more."""

    # --- in machines --------------------------------------------------------------------------------------------------
    def plug(self, card: Card, *, model: Model = "virtio", bandwidth: Bandwidth | None = None) -> Nic:
        """The card as a machine's definition has it; asks nobody."""

    def speaks_as(self, seen: SeenCard, card: Card) -> bool:
        """Is that card of a machine known to be up and to speak as it should, and as nobody else?"""

    def readdress(self, uuid: str, card: Card) -> None:
        """Have the machine's card speak as its address alone, now and at its next start, and ask for an address anew.

        No frame passes meanwhile. ``Missing`` without the machine or the card.
        """


def seen_as(nic: Nic) -> SeenCard:
    """How a machine's definition shows the card that it was given."""
    guard = nic.filter
    name, ip = (guard.name, guard.ip) if guard else ("", "")
    limits = (nic.bandwidth or Bandwidth()).kib
    return SeenCard(nic.mac, nic.network, name, ip, nic.link_up, limits, nic.port)
