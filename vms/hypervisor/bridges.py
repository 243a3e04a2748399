"""The engine of one host: libvirt's own networks, and its packet filters on their bridges."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Interface

from vms.hypervisor.cards import SeenCard
from vms.hypervisor.driver import Hypervisor, SeenNetwork
from vms.hypervisor.engines import Card, Group, Net
from vms.hypervisor.errors import Refused
from vms.hypervisor.filters import guest_filter
from vms.hypervisor.groups import group_filter, port_filter
from vms.hypervisor.members import SeenMembers
from vms.hypervisor.xml.devices import Bandwidth, FilterRef, Model, Nic
from vms.hypervisor.xml.network import DhcpHost
from vms.hypervisor.xml.nwfilter import FilterSpec
from vms.names import Owner, network_guard


@dataclass(frozen=True, slots=True)
class Bridges:
    """See the protocol ``NetworkEngine``; a connection to the host, and who we are there."""

    hv: Hypervisor
    owner: Owner

    @property
    def mends(self) -> bool:
        """A machine lets go of a bridge that goes."""
        return False

    # --- networks -----------------------------------------------------------------------------------------------------
    def networks(self) -> tuple[SeenNetwork, ...]:
        return self.hv.networks()

    def standing(self, names: Collection[str]) -> frozenset[str]:
        filters = set(self.hv.filters())
        running = set(names) & set(self.hv.networks_running())
        return frozenset(name for name in running if network_guard(name) in filters)

    def has_network(self, net: Net) -> bool:
        return net.spec.name in self.standing({net.spec.name})

    def bar(self, net: Net) -> None:
        spec = net.spec
        subnet = str(IPv4Interface(f"{spec.gateway}/{spec.prefix}").network)
        try:
            guard = guest_filter(
                name=network_guard(spec.name), subnet=subnet, gateway=spec.gateway, forbidden=net.forbidden
            )
        except ValueError as error:
            raise Refused(f"network {spec.name}: {error}") from error
        self.hv.ensure_filter(guard)

    def ensure_network(self, net: Net) -> None:
        self.hv.ensure_network(net.spec)

    def remove_network(self, name: str) -> None:
        self.hv.remove_network(name, owner=self.owner)

    def unbar(self, name: str) -> None:
        self.hv.remove_filter(network_guard(name))

    # --- who is on them -----------------------------------------------------------------------------------------------
    def members(self, network: str) -> SeenMembers:
        return self.hv.members(network)

    def introduce(self, card: Card) -> None:
        self.hv.introduce(card.network, host=DhcpHost(mac=card.mac, ip=card.ip), name=card.machine, owner=self.owner)

    def forget(self, network: str, ip: str) -> None:
        self.hv.forget(network, ip, owner=self.owner)

    def drop_card(self, card: Card) -> None:
        self.unguard(card)

    # --- what guards them ---------------------------------------------------------------------------------------------
    def guards(self, names: Collection[str] | None = None) -> frozenset[str]:
        there = frozenset(self.hv.filters())
        return there if names is None else there & frozenset(names)

    def has_group(self, group: Group) -> bool:
        return self._has(group_guard(group))

    def ensure_group(self, group: Group) -> None:
        self.hv.ensure_filter(group_guard(group))

    def drop_group(self, name: str) -> None:
        self.hv.remove_filter(name)

    def needs(self, card: Card) -> frozenset[str]:
        return frozenset({card.name, network_guard(card.network), *card.groups})

    def is_guarded(self, card: Card) -> bool:
        return self._has(card_guard(card))

    def guard(self, card: Card) -> None:
        self.hv.ensure_filter(card_guard(card))

    def unguard(self, card: Card) -> None:
        if self.hv.filter(card.name) is not None:
            self.hv.remove_filter(card.name)

    def _has(self, spec: FilterSpec) -> bool:
        seen = self.hv.filter(spec.name)
        return seen is not None and seen.meaning() == spec.meaning()

    # --- in machines --------------------------------------------------------------------------------------------------
    def plug(self, card: Card, *, model: Model = "virtio", bandwidth: Bandwidth | None = None) -> Nic:
        guard = card.name if card.groups else network_guard(card.network)
        reference = FilterRef(name=guard, ip=card.ip)
        return Nic(mac=card.mac, network=card.network, model=model, filter=reference, bandwidth=bandwidth)

    def speaks_as(self, seen: SeenCard, card: Card) -> bool:
        return seen.link_up and seen.ip == card.ip

    def readdress(self, uuid: str, card: Card) -> None:
        self.hv.readdress_card(uuid, card.mac, card.ip, owner=self.owner)


def group_guard(group: Group) -> FilterSpec:
    """What a group allows, as a packet filter."""
    return group_filter(name=group.name, rules=group.rules, members=group.members)


def card_guard(card: Card) -> FilterSpec:
    """A guarded card's packet filter; its network's and its groups' must be on the host before it."""
    return port_filter(name=card.name, network=network_guard(card.network), groups=card.groups, gateway=card.gateway)
