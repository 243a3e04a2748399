"""Security groups and their rules in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from vms.firewall import Direction, Protocol
from vms.models import SecurityGroup

PROTOCOLS: Final[Mapping[Protocol, str | Promise]] = {
    Protocol.ANY: gettext_lazy("Everything"),
    Protocol.TCP: "TCP",
    Protocol.UDP: "UDP",
    Protocol.ICMP: "ICMP",
}
_SAID: Final = 3
"""Ways in that a line names; of more it says how many."""


def in_order(rules: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules as people read them: in before out, like beside like."""
    return sorted(
        rules, key=lambda rule: (rule["direction"], rule["protocol"], rule["first_port"] or 0, rule_mark(rule))
    )


def rule_mark(rule: Mapping[str, Any]) -> str:
    """A rule in one word, by which a page names it."""
    return "|".join(str(rule[key]) for key in ("direction", "protocol", "first_port", "last_port", "cidr", "group"))


def rule_shown(rule: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A rule in words; ``names`` has those of the project's groups, by id."""
    first, last = rule["first_port"], rule["last_port"]
    ports = _("all ports") if first is None else str(first) if first == last else f"{first}–{last}"
    protocol = Protocol(rule["protocol"])
    return {
        "mark": rule_mark(rule),
        "direction": _("In") if rule["direction"] == Direction.IN else _("Out"),
        "what": PROTOCOLS[protocol],
        "ports": ports if protocol.has_ports else "",
        "cidr": rule["cidr"],
        "group": names.get(rule["group"], ""),
        "group_pk": rule["group"],
        "note": rule["note"],
    }


def ways_in(group: SecurityGroup, names: Mapping[str, str]) -> str:
    """Who may call the group's machines, in one line; ``names`` as for ``rule_shown``."""
    rules = [rule_shown(rule, names) for rule in in_order(group.rules) if rule["direction"] == Direction.IN]
    if not rules:
        return _("lets nobody in")
    said = ", ".join(_way(rule) for rule in rules[:_SAID])
    more = f" +{len(rules) - _SAID}" if len(rules) > _SAID else ""
    return _("lets in: %s") % (said + more)


def _way(rule: dict[str, Any]) -> str:
    what = f"{rule['what']} {rule['ports']}".strip()
    if rule["cidr"]:
        return _("%(what)s from %(whom)s") % {"what": what, "whom": rule["cidr"]}
    if rule["group_pk"]:
        return _("%(what)s from machines of %(name)s") % {"what": what, "name": rule["group"]}
    return what
