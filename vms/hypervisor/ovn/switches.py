"""A network on a fabric: a switch with its rules, what DHCP says there, and the names that are answered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Final

from vms.hypervisor.engines import Net
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.ovn.marks import MACHINE, bring, mac_of, marks, must_be_ours, row_id
from vms.hypervisor.ovn.rules import Acl, network_rules
from vms.hypervisor.ovn.wire import Change
from vms.hypervisor.xml.network import NetworkSpec
from vms.names import Owner

LEASE_S: Final = 3600
_PLAIN: Final = re.compile(r"[a-z0-9.-]{1,120}")
_DOMAIN: Final = "guesthouse:domain"


def ensure_switch(
    change: Change, net: Net, owner: Owner, *, mtu: int, resolvers: tuple[str, ...], router_port: str
) -> Any:
    """The switch as ``net`` says, with all that belongs to it; ``mtu`` is the most that a tunnel carries.

    ``resolvers`` answer what no machine is called, and ``router_port`` is the switch's port to its router. Raises ``Refused``
    where something else has its name.
    """
    spec = net.spec
    row = switch_of(change, spec.name)
    ids = {**marks(owner, spec.name, spec.tag), _DOMAIN: spec.domain}
    if row is None:
        others = change.named("Logical_Switch", spec.name)
        if others:
            raise Refused(f"network {spec.name} is not ours")
        row = change.insert("Logical_Switch", row_id("switch", spec.name), name=spec.name, external_ids=ids)
    else:
        must_be_ours(row, owner, f"network {spec.name}")
        bring(row, name=spec.name, external_ids=ids)
    _ensure_dhcp(change, spec, owner, mtu=mtu, resolvers=resolvers)
    names = change.rows("DNS").get(row_id("names", spec.name))
    if names is None:
        names = change.insert("DNS", row_id("names", spec.name), external_ids=marks(owner, spec.name))
    if not any(each.uuid == names.uuid for each in row.dns_records):
        row.addvalue("dns_records", names.uuid)
    put_rules(change, row, network_rules(net, router_port=router_port))
    tell_names(change, row)
    return row


def drop_switch(change: Change, name: str, owner: Owner) -> None:
    """No switch of that name, nor what belonged to it; ports on it go along."""
    row = switch_of(change, name)
    if row is None:
        if change.named("Logical_Switch", name):
            raise Refused(f"network {name} is not ours")
    else:
        must_be_ours(row, owner, f"network {name}")
        change.remove(row)
    for table, kind in (("DHCP_Options", "first"), ("DHCP_Options", "further"), ("DNS", "names")):
        part = change.rows(table).get(row_id(kind, name))
        if part is not None:
            change.remove(part)


def switch_of(change: Change, name: str) -> Any | None:
    """Our switch of that name, whoever's mark it carries."""
    return change.rows("Logical_Switch").get(row_id("switch", name))


def switch_ours(change: Change, name: str, owner: Owner) -> Any:
    """The same; raises ``Missing`` or ``Refused``."""
    row = switch_of(change, name)
    if row is None:
        raise Missing(f"no network {name}")
    must_be_ours(row, owner, f"network {name}")
    return row


def stands(tables: Any, row: Any) -> bool:
    """Has the switch all that belongs to it?"""
    parts = (("DHCP_Options", "first"), ("DHCP_Options", "further"), ("DNS", "names"))
    return bool(row.acls) and all(row_id(kind, row.name) in tables[table].rows for table, kind in parts)


def put_rules(change: Change, row: Any, wanted: frozenset[Acl]) -> None:
    """The row has exactly these rules; those that it has already stay as they are."""
    kept, gone = [], []
    missing = set(wanted)
    for acl in row.acls:
        rule = rule_of(acl)
        if rule in missing:
            missing.discard(rule)
            kept.append(acl)
        else:
            gone.append(acl)
    if not missing and not gone:
        return
    row.verify("acls")
    made = [
        change.add("ACL", direction=one.direction, priority=one.priority, match=one.match, action=one.action)
        for one in sorted(missing)
    ]
    row.acls = [*kept, *made]


def rule_of(acl: Any) -> Acl:
    """The rule that a row is."""
    return Acl(acl.direction, acl.priority, acl.match, acl.action)


def tell_names(change: Change, row: Any) -> None:
    """The switch answers the names of the machines on it, and no others."""
    names = change.rows("DNS").get(row_id("names", row.name))
    if names is None:
        raise Missing(f"network {row.name} is not whole")
    domain = row.external_ids.get(_DOMAIN, "")
    records = {}
    for port in row.ports:
        machine = port.external_ids.get(MACHINE, "")
        ip = address_of(port)[1]
        if machine and ip:
            records[machine.lower()] = ip
            if domain:
                records[f"{machine}.{domain}".lower()] = ip
    bring(names, records=records)


def address_of(port: Any) -> tuple[str, str]:
    """A port's MAC and IPv4 address; empty where it has none."""
    words = port.addresses[0].split() if len(port.addresses) == 1 else []
    return (words[0], words[1]) if len(words) == 2 else ("", "")


def _ensure_dhcp(change: Change, spec: NetworkSpec, owner: Owner, *, mtu: int, resolvers: tuple[str, ...]) -> None:
    cidr = f"{_network(spec)}/{spec.prefix}"
    for kind in ("first", "further"):
        options = _options(spec, is_first=kind == "first", mtu=mtu, resolvers=resolvers)
        ids = marks(owner, spec.name)
        row = change.rows("DHCP_Options").get(row_id(kind, spec.name))
        if row is None:
            change.insert("DHCP_Options", row_id(kind, spec.name), cidr=cidr, options=options, external_ids=ids)
        else:
            bring(row, cidr=cidr, options=options, external_ids=ids)


def _options(spec: NetworkSpec, *, is_first: bool, mtu: int, resolvers: tuple[str, ...]) -> dict[str, str]:
    """What DHCP tells a card; only a machine's first has a way out, and who hears of routes listens to no router beside them."""
    options = {
        "server_id": spec.gateway,
        "server_mac": mac_of(spec.name),
        "lease_time": str(LEASE_S),
        "mtu": str(min(mtu, spec.mtu or mtu)),
        "dns_server": _set(str(IPv4Address(each)) for each in spec.dns or resolvers or (spec.gateway,)),
    }
    if is_first:
        options["router"] = spec.gateway
    if spec.domain:
        if not _PLAIN.fullmatch(spec.domain):
            raise ValueError("a domain is small letters, digits, hyphens and dots")
        options["domain_name"] = f'"{spec.domain}"'
    if spec.routes:
        ways = [("0.0.0.0/0", spec.gateway)] if is_first else []
        options["classless_static_route"] = _set(
            f"{IPv4Network(to)},{IPv4Address(via)}" for to, via in [*ways, *spec.routes]
        )
    return options


def _set(texts: Iterable[str]) -> str:
    return "{" + ", ".join(texts) + "}"


def _network(spec: NetworkSpec) -> str:
    return str(IPv4Interface(f"{spec.gateway}/{spec.prefix}").network.network_address)
