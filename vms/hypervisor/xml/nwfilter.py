"""A packet filter as libvirt reads it; the rules themselves are chosen in ``vms.hypervisor.filters``.

Source: https://libvirt.org/formatnwfilter.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vms.hypervisor.xml.build import Element, node, to_xml


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``direction`` is the guest's: ``out`` leaves it. Lower ``priority`` (-1000…1000) is asked first.

    ``match`` holds the attributes of the ``protocol`` element; without a protocol the rule meets every frame.
    """

    action: Literal["accept", "drop"]
    direction: Literal["in", "out", "inout"]
    priority: int
    protocol: Literal["mac", "arp", "ip", "ipv6", ""] = ""
    match: tuple[tuple[str, str], ...] = ()

    def element(self) -> Element:
        inner = node(self.protocol, dict(self.match)) if self.protocol else None
        attributes = {"action": self.action, "direction": self.direction, "priority": self.priority}
        return node("rule", attributes, inner)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSpec:
    """A named filter in libvirt's root chain. Filters carry no metadata: ``name`` must hold the installation."""

    name: str
    rules: tuple[Rule, ...]

    def element(self, *, uuid: str | None = None) -> Element:
        """``uuid`` keeps the identity of a filter that is defined again."""
        return node(
            "filter",
            {"name": self.name, "chain": "root"},
            node("uuid", None, uuid) if uuid else None,
            *(rule.element() for rule in self.rules),
        )

    def xml(self, *, uuid: str | None = None) -> str:
        return to_xml(self.element(uuid=uuid))
