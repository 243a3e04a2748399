"""A card on a fabric: a port of its network's switch that speaks as its MAC and address alone."""

from __future__ import annotations

from typing import Any

from vms.hypervisor.engines import Card
from vms.hypervisor.errors import Missing
from vms.hypervisor.ovn.marks import MACHINE, bring, marks, must_be_ours, owner_of, row_id
from vms.hypervisor.ovn.switches import address_of, switch_of, switch_ours, tell_names
from vms.hypervisor.ovn.wire import Change
from vms.hypervisor.xml.network import FURTHER
from vms.names import Owner


def ensure_port(change: Change, card: Card, owner: Owner) -> None:
    """The card's port on its switch, which answers its machine's name; whoever else has its MAC, address or name gives way."""
    switch = switch_ours(change, card.network, owner)
    row = port_of(change, card.name)
    for other in list(switch.ports):
        if row is not None and other.uuid == row.uuid:
            continue
        mac, ip = address_of(other)
        if owner_of(other) == owner and (mac == card.mac or ip == card.ip):
            switch.delvalue("ports", other.uuid)
            change.remove(other)
        elif other.external_ids.get(MACHINE) == card.machine and card.machine:
            bring(other, external_ids={**other.external_ids, MACHINE: ""})
    further = card.mac.lower().startswith(FURTHER)
    address = [f"{card.mac} {card.ip}"]
    columns = {
        "addresses": address,
        "port_security": address,
        "dhcpv4_options": [row_id("further" if further else "first", card.network)],
        "external_ids": {**marks(owner, card.name), MACHINE: card.machine},
        "enabled": [True],
    }
    if row is None:
        row = change.insert("Logical_Switch_Port", row_id("port", card.name), name=port_name(card.name), **columns)
    else:
        must_be_ours(row, owner, f"card {card.name}")
        bring(row, **columns)
    if not any(each.uuid == row.uuid for each in switch.ports):
        switch.addvalue("ports", row.uuid)
    tell_names(change, switch)


def drop_port(change: Change, card: Card, owner: Owner) -> None:
    """No port for the card; a switch that is not there has none."""
    row = port_of(change, card.name)
    switch = switch_of(change, card.network)
    if row is None:
        return
    must_be_ours(row, owner, f"card {card.name}")
    if switch is not None:
        switch.delvalue("ports", row.uuid)
    change.remove(row)
    if switch is not None:
        tell_names(change, switch)


def forget_name(change: Change, network: str, ip: str, owner: Owner) -> None:
    """No name leads to that address."""
    switch = switch_of(change, network)
    if switch is None:
        return
    must_be_ours(switch, owner, f"network {network}")
    for port in switch.ports:
        if address_of(port)[1] == ip and port.external_ids.get(MACHINE):
            bring(port, external_ids={**port.external_ids, MACHINE: ""})
    tell_names(change, switch)


def port_name(name: str) -> str:
    """What the card's port is called, here and on its host: libvirt wants a uuid, so it is its row's."""
    return str(row_id("port", name))


def port_of(change: Change, name: str) -> Any | None:
    """The card's port."""
    return change.rows("Logical_Switch_Port").get(row_id("port", name))


def port_ours(change: Change, name: str, owner: Owner) -> Any:
    """The same; raises ``Missing`` or ``Refused``."""
    row = port_of(change, name)
    if row is None:
        raise Missing(f"no card {name}")
    must_be_ours(row, owner, f"card {name}")
    return row


def is_whole(port: Any) -> bool:
    """Does it speak as what it is called by, and as nobody else?"""
    return address_of(port)[1] != "" and list(port.port_security) == list(port.addresses) and port.enabled != [False]
