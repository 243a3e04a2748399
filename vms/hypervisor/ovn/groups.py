"""A security group on a fabric: a port group with its rules, and an address set for each group that they name."""

from __future__ import annotations

from typing import Any

from vms.hypervisor.engines import Card, Group
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.ovn.marks import NAME, bring, group_row_name, marks, must_be_ours, owner_of, row_id
from vms.hypervisor.ovn.ports import port_ours
from vms.hypervisor.ovn.rules import group_rules, group_sets
from vms.hypervisor.ovn.switches import put_rules, rule_of
from vms.hypervisor.ovn.wire import Change, holds
from vms.names import Owner


def ensure_group(change: Change, group: Group, owner: Owner) -> None:
    """The group exactly so, in one change with the addresses that it names."""
    name = group_row_name(group.name)
    row = change.rows("Port_Group").get(row_id("group", group.name))
    if row is None:
        if change.named("Port_Group", name):
            raise Refused(f"group {group.name} is not ours")
        ids = marks(owner, group.name)
        row = change.insert("Port_Group", row_id("group", group.name), name=name, external_ids=ids)
    else:
        must_be_ours(row, owner, f"group {group.name}")
    wanted = group_sets(group, name)
    for set_name, addresses in wanted.items():
        _ensure_set(change, set_name, addresses, group, owner)
    put_rules(change, row, group_rules(group, name))
    for old in _sets_of(change.rows("Address_Set"), group.name, owner):
        if old.name not in wanted:
            change.remove(old)


def drop_group(change: Change, name: str, owner: Owner) -> None:
    """No group of that name, nor the addresses that it named."""
    row = change.rows("Port_Group").get(row_id("group", name))
    if row is not None:
        must_be_ours(row, owner, f"group {name}")
        change.remove(row)
    for old in _sets_of(change.rows("Address_Set"), name, owner):
        change.remove(old)


def has_group(tables: Any, group: Group, owner: Owner) -> bool:
    """Is it there, and exactly so?"""
    name = group_row_name(group.name)
    row = tables["Port_Group"].rows.get(row_id("group", group.name))
    if row is None or owner_of(row) != owner or row.name != name:
        return False
    if sorted(rule_of(acl) for acl in row.acls) != sorted(group_rules(group, name)):
        return False
    seen = {each.name: frozenset(each.addresses) for each in _sets_of(tables["Address_Set"].rows, group.name, owner)}
    return seen == group_sets(group, name)


def guard(change: Change, card: Card, groups: tuple[str, ...], owner: Owner) -> None:
    """The card's port is in these groups, and in no others of ours."""
    port = port_ours(change, card.name, owner)
    wanted = {row_id("group", name) for name in groups}
    for pk in wanted:
        row = change.rows("Port_Group").get(pk)
        if row is None:
            raise Missing(f"a group of card {card.name} is not there")
        if not holds(row, "ports", port.uuid):
            row.addvalue("ports", port.uuid)
    for row in change.rows("Port_Group").values():
        if row.uuid not in wanted and owner_of(row) == owner and holds(row, "ports", port.uuid):
            row.delvalue("ports", port.uuid)


def groups_of(tables: Any, port: Any, owner: Owner) -> set[str]:
    """The names of our groups that the port is in."""
    rows = tables["Port_Group"].rows.values()
    return {row.external_ids.get(NAME, "") for row in rows if owner_of(row) == owner and holds(row, "ports", port.uuid)}


def _ensure_set(change: Change, name: str, addresses: frozenset[str], group: Group, owner: Owner) -> None:
    row = change.rows("Address_Set").get(row_id("set", name))
    ids = marks(owner, group.name)
    if row is None:
        if change.named("Address_Set", name):
            raise Refused(f"address set {name} is not ours")
        change.insert("Address_Set", row_id("set", name), name=name, addresses=sorted(addresses), external_ids=ids)
    else:
        must_be_ours(row, owner, f"address set {name}")
        bring(row, addresses=sorted(addresses))


def _sets_of(rows: Any, group: str, owner: Owner) -> list[Any]:
    prefix = group_row_name(group) + "_"
    return [row for row in rows.values() if row.name.startswith(prefix) and owner_of(row) == owner]
