"""The engine of a fabric: one network for all of its hosts' machines on it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from vms.hypervisor.cards import SeenCard
from vms.hypervisor.driver import Hypervisor, SeenNetwork
from vms.hypervisor.engines import Card, Group, Net
from vms.hypervisor.errors import Missing, Unsupported
from vms.hypervisor.members import SeenMembers
from vms.hypervisor.ovn import groups, ports, routers, switches
from vms.hypervisor.ovn.marks import NAME, SUBJECT, owner_of, row_id
from vms.hypervisor.ovn.routers import Outside
from vms.hypervisor.ovn.wire import Change, Northbound
from vms.hypervisor.xml.devices import Bandwidth, Model, Nic
from vms.hypervisor.xml.network import DhcpHost, DnsName
from vms.names import Owner

MTU = 1442
"""What is left of 1500 bytes in a Geneve tunnel over IPv4."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """See the protocol ``NetworkEngine``; a line to the fabric, a connection to one of its hosts, and who we are there.

    ``mtu`` is the most that its tunnels carry; without ``offload`` its switches run in user space.
    ``resolvers`` are name servers that machines are told of, where their network names none.
    """

    line: Northbound
    hv: Hypervisor
    owner: Owner
    mtu: int = MTU
    offload: bool = True
    outside: Outside | None = None
    resolvers: tuple[str, ...] = ()

    @property
    def mends(self) -> bool:
        return True

    # --- networks -----------------------------------------------------------------------------------------------------
    def networks(self) -> tuple[SeenNetwork, ...]:
        with self.line.look() as tables:
            return tuple(
                SeenNetwork(
                    name=row.name,
                    bridge="",
                    active=switches.stands(tables, row),
                    owner=owner_of(row),
                    network=row.external_ids.get(SUBJECT, ""),
                )
                for row in tables["Logical_Switch"].rows.values()
                if owner_of(row) != self.owner or SUBJECT in row.external_ids  # not where the router meets the outside
            )

    def standing(self, names: Collection[str]) -> frozenset[str]:
        with self.line.look() as tables:
            rows = tables["Logical_Switch"].rows
            there = {name: rows.get(row_id("switch", name)) for name in names}
            return frozenset(name for name, row in there.items() if row is not None and switches.stands(tables, row))

    def has_network(self, net: Net) -> bool:
        return self.line.would_change(self._making(net)) is False

    def bar(self, net: Net) -> None:
        """Its switch keeps that, in one change with itself."""

    def ensure_network(self, net: Net) -> None:
        """See the protocol. ``Unsupported`` for one that leads outwards, where the fabric has no outside."""
        self.line.change(self._making(net))

    def _making(self, net: Net) -> Callable[[Change], None]:
        spec, outside = net.spec, self.outside if net.spec.mode == "nat" else None
        if spec.mode == "nat" and outside is None:
            raise Unsupported(f"network {spec.name}: no outside is known", feature="outward")
        plug = routers.leg_name(spec.name) if outside else ""

        def make(change: Change) -> None:
            switches.ensure_switch(change, net, self.owner, mtu=self.mtu, resolvers=self.resolvers, router_port=plug)
            if outside:
                routers.ensure_leg(change, spec, outside, self.owner)
            else:
                routers.drop_leg(change, spec.name, self.owner)

        return make

    def remove_network(self, name: str) -> None:
        def make(change: Change) -> None:
            switches.drop_switch(change, name, self.owner)
            routers.drop_leg(change, name, self.owner)

        self.line.change(make)

    def unbar(self, name: str) -> None:
        """It went with the switch."""

    # --- who is on them -----------------------------------------------------------------------------------------------
    def members(self, network: str) -> SeenMembers:
        with self.line.look() as tables:
            row = tables["Logical_Switch"].rows.get(row_id("switch", network))
            if row is None:
                raise Missing(f"no network {network}")
            whole = [port for port in row.ports if owner_of(port) == self.owner and ports.is_whole(port)]
            pairs = [switches.address_of(port) for port in whole]
            records: dict[str, str] = {}
            for names in row.dns_records:
                records |= names.records
            hosts = frozenset(DhcpHost(mac=mac, ip=ip) for mac, ip in pairs)
            told = frozenset(DnsName(ip=ip, name=name) for name, ip in records.items() if "." not in name)
            return SeenMembers(hosts, told)

    def introduce(self, card: Card) -> None:
        self.line.change(lambda change: ports.ensure_port(change, card, self.owner))

    def forget(self, network: str, ip: str) -> None:
        self.line.change(lambda change: ports.forget_name(change, network, ip, self.owner))

    def drop_card(self, card: Card) -> None:
        self.line.change(lambda change: ports.drop_port(change, card, self.owner))

    # --- what guards them ---------------------------------------------------------------------------------------------
    def guards(self, names: Collection[str] | None = None) -> frozenset[str]:
        with self.line.look() as tables:
            if names is not None:
                kinds = (("Port_Group", "group"), ("Logical_Switch_Port", "port"))
                return frozenset(
                    name for name in names if any(row_id(kind, name) in tables[table].rows for table, kind in kinds)
                )
            rows = [*tables["Port_Group"].rows.values(), *tables["Logical_Switch_Port"].rows.values()]
            return frozenset(row.external_ids.get(NAME, row.name) for row in rows)

    def has_group(self, group: Group) -> bool:
        with self.line.look() as tables:
            return groups.has_group(tables, group, self.owner)

    def ensure_group(self, group: Group) -> None:
        self.line.change(lambda change: groups.ensure_group(change, group, self.owner))

    def drop_group(self, name: str) -> None:
        self.line.change(lambda change: groups.drop_group(change, name, self.owner))

    def needs(self, card: Card) -> frozenset[str]:
        return frozenset({card.name, *card.groups})

    def is_guarded(self, card: Card) -> bool:
        with self.line.look() as tables:
            port = tables["Logical_Switch_Port"].rows.get(row_id("port", card.name))
            if port is None or owner_of(port) != self.owner or not ports.is_whole(port):
                return False
            return groups.groups_of(tables, port, self.owner) == set(card.groups)

    def guard(self, card: Card) -> None:
        self.line.change(lambda change: groups.guard(change, card, card.groups, self.owner))

    def unguard(self, card: Card) -> None:
        """Nothing is let in or out then but what every card may ask of its gateway."""
        self.line.change(lambda change: groups.guard(change, card, (), self.owner))

    # --- in machines --------------------------------------------------------------------------------------------------
    def plug(self, card: Card, *, model: Model = "virtio", bandwidth: Bandwidth | None = None) -> Nic:
        return Nic(
            mac=card.mac, port=ports.port_name(card.name), offload=self.offload, model=model, bandwidth=bandwidth
        )

    def speaks_as(self, seen: SeenCard, card: Card) -> bool:
        """The machine's definition does not know its address."""
        return False

    def readdress(self, uuid: str, card: Card) -> None:
        """The port speaks as its new address already; the machine hears that its cable was out, and asks anew."""
        self.hv.replug_card(uuid, card.mac, owner=self.owner)
