"""The way out of a fabric: one router of the installation's, which every network that is not isolated has a leg to.

Ranges of one installation never overlap, so one router serves all of them; it leads from no network to another. What goes out
bears the router's own address, and only answers to that come back in.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Any, Final

from vms.firewall import SPECIAL
from vms.hypervisor.ovn.marks import bring, mac_of, marks, must_be_ours, row_id
from vms.hypervisor.ovn.rules import Acl
from vms.hypervisor.ovn.switches import put_rules, switch_of
from vms.hypervisor.ovn.wire import Change, holds
from vms.hypervisor.xml.network import NetworkSpec
from vms.names import Owner

_MOST: Final = 100
"""The priority of the host that carries the way out as long as it lives; each further one is next after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Where a fabric meets the operator's own network.

    ``physnet`` is what its hosts call that (``ovn-bridge-mappings``), ``address`` the router's there with its prefix, ``gateway``
    the next router's. ``chassis`` are the hosts that may carry it, by their names in OVN, the preferred first.
    """

    physnet: str
    address: str
    gateway: str
    chassis: tuple[str, ...]

    @property
    def ip(self) -> str:
        """The router's address alone."""
        return str(IPv4Interface(self.address).ip)


def leg_name(network: str) -> str:
    """What the port of a network's switch to the router is called."""
    return f"{network}-gw"


def ensure_leg(change: Change, spec: NetworkSpec, outside: Outside, owner: Owner) -> None:
    """The network's gateway is the router, which lets its machines out; the switch is there already."""
    router = _ensure_router(change, outside, owner)
    cidr = f"{spec.gateway}/{spec.prefix}"
    port = change.rows("Logical_Router_Port").get(row_id("leg", spec.name))
    columns = {"mac": mac_of(spec.name), "networks": [cidr], "external_ids": marks(owner, spec.name)}
    if port is None:
        port = change.insert("Logical_Router_Port", row_id("leg", spec.name), name=f"{spec.name}-leg", **columns)
    else:
        bring(port, **columns)
    _hold(router, "ports", port)
    nat = change.rows("NAT").get(row_id("nat", spec.name))
    subnet = str(IPv4Interface(cidr).network)
    told = {"type": "snat", "external_ip": outside.ip, "logical_ip": subnet, "external_ids": marks(owner, spec.name)}
    if nat is None:
        nat = change.insert("NAT", row_id("nat", spec.name), **told)
    else:
        bring(nat, **told)
    _hold(router, "nat", nat)
    _ensure_plug(change, spec.name, leg_name(spec.name), f"{spec.name}-leg", owner)


def drop_leg(change: Change, network: str, owner: Owner) -> None:
    """The network has no way out; one that has none is fine."""
    router = change.rows("Logical_Router").get(row_id("router", _router_name(owner)))
    for table, kind, column in (("Logical_Router_Port", "leg", "ports"), ("NAT", "nat", "nat")):
        part = change.rows(table).get(row_id(kind, network))
        if part is not None:
            if router is not None:
                router.delvalue(column, part.uuid)
            change.remove(part)
    plug = change.rows("Logical_Switch_Port").get(row_id("plug", network))
    if plug is not None:
        switch = switch_of(change, network)
        if switch is not None:
            switch.delvalue("ports", plug.uuid)
        change.remove(plug)


def _ensure_router(change: Change, outside: Outside, owner: Owner) -> Any:
    name = _router_name(owner)
    router = change.rows("Logical_Router").get(row_id("router", name))
    if router is None:
        router = change.insert("Logical_Router", row_id("router", name), name=name, external_ids=marks(owner, name))
    else:
        must_be_ours(router, owner, f"router {name}")
    _ensure_outer_switch(change, name, outside, owner)
    _ensure_outer_port(change, router, name, outside, owner)
    wanted = {
        (200, f'inport == "{name}-outer"', "allow"),
        (100, f"ip4.dst == {{{', '.join(SPECIAL)}}}", "drop"),
    }
    if {(row.priority, row.match, row.action) for row in router.policies} != wanted:
        router.policies = [
            change.add("Logical_Router_Policy", priority=priority, match=match, action=action)
            for priority, match, action in sorted(wanted)
        ]
    if [(row.ip_prefix, row.nexthop) for row in router.static_routes] != [("0.0.0.0/0", outside.gateway)]:
        router.static_routes = [
            change.add(
                "Logical_Router_Static_Route",
                ip_prefix="0.0.0.0/0",
                nexthop=outside.gateway,
                output_port=[f"{name}-outer"],
            )
        ]
    return router


def _ensure_outer_port(change: Change, router: Any, name: str, outside: Outside, owner: Owner) -> None:
    port = change.rows("Logical_Router_Port").get(row_id("outer", name))
    columns = {"mac": mac_of(f"{name}-outer"), "networks": [outside.address], "external_ids": marks(owner, name)}
    if port is None:
        port = change.insert("Logical_Router_Port", row_id("outer", name), name=f"{name}-outer", **columns)
    else:
        bring(port, **columns)
    wanted = [(chassis, _MOST - place) for place, chassis in enumerate(outside.chassis)]
    if sorted((row.chassis_name, row.priority) for row in port.gateway_chassis) != sorted(wanted):
        port.gateway_chassis = [
            change.add("Gateway_Chassis", name=f"{name}-{chassis}", chassis_name=chassis, priority=priority)
            for chassis, priority in wanted
        ]
    _hold(router, "ports", port)


def _ensure_outer_switch(change: Change, name: str, outside: Outside, owner: Owner) -> None:
    """Only what is for the router's own address comes in to it: nobody outside reaches a machine by its own."""
    outer = f"{name}-outside"
    switch = switch_of(change, outer)
    if switch is None:
        switch = change.insert("Logical_Switch", row_id("switch", outer), name=outer, external_ids=marks(owner, outer))
    else:
        must_be_ours(switch, owner, f"switch {outer}")
    wire = change.rows("Logical_Switch_Port").get(row_id("wire", outer))
    columns = {
        "type": "localnet", "addresses": ["unknown"], "options": {"network_name": outside.physnet},
        "external_ids": marks(owner, outer),
    }  # fmt: skip
    if wire is None:
        wire = change.insert("Logical_Switch_Port", row_id("wire", outer), name=f"{outer}-wire", **columns)
    else:
        bring(wire, **columns)
    _hold(switch, "ports", wire)
    _ensure_plug(change, outer, leg_name(outer), f"{name}-outer", owner)
    port = f'outport == "{leg_name(outer)}"'
    rules = {
        Acl("to-lport", 1000, f"{port} && ip4.dst == {outside.ip}", "allow-stateless"),
        Acl("to-lport", 900, f"{port} && ip", "drop"),
    }
    put_rules(change, switch, frozenset(rules))


def _ensure_plug(change: Change, network: str, plug: str, leg: str, owner: Owner) -> None:
    switch = switch_of(change, network)
    row = change.rows("Logical_Switch_Port").get(row_id("plug", network))
    columns = {
        "type": "router", "addresses": ["router"], "options": {"router-port": leg}, "external_ids": marks(owner, plug),
    }  # fmt: skip
    if row is None:
        row = change.insert("Logical_Switch_Port", row_id("plug", network), name=plug, **columns)
    else:
        bring(row, **columns)
    _hold(switch, "ports", row)


def _hold(row: Any, column: str, part: Any) -> None:
    if not holds(row, column, part.uuid):
        row.addvalue(column, part.uuid)


def _router_name(owner: Owner) -> str:
    return f"gh-{owner.short}-out"
