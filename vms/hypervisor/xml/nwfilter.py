"""A packet filter as libvirt reads it; the rules themselves are chosen in ``vms.hypervisor.filters``.

Source: https://libvirt.org/formatnwfilter.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from vms.hypervisor.xml.build import Element, node, to_xml

type Layer = Literal[
    "", "mac", "arp", "ip", "ipv6",
    "all", "all-ipv6", "tcp", "tcp-ipv6", "udp", "udp-ipv6", "icmp", "icmpv6",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``direction`` is the guest's: ``out`` leaves it. Lower ``priority`` (-1000…1000) is asked first.

    ``match`` holds the attributes of the ``protocol`` element; without a protocol the rule meets every frame. Protocols up to
    ``ipv6`` are asked of every frame by itself; those from ``all`` on know conversations, and answers pass by themselves unless
    ``stateful`` is false.
    """

    action: Literal["accept", "drop"]
    direction: Literal["in", "out", "inout"]
    priority: int
    protocol: Layer = ""
    match: tuple[tuple[str, str], ...] = ()
    stateful: bool = True

    def element(self) -> Element:
        inner = node(self.protocol, dict(self.match)) if self.protocol else None
        attributes: dict[str, str | int] = {
            "action": self.action,
            "direction": self.direction,
            "priority": self.priority,
        }
        if not self.stateful:
            attributes["statematch"] = "false"
        return node("rule", attributes, inner)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSpec:
    """A named filter in libvirt's root chain. Filters carry no metadata: ``name`` must hold the installation.

    ``refs`` are other filters whose rules are among its own, by their priority.
    """

    name: str
    rules: tuple[Rule, ...]
    refs: tuple[str, ...] = ()

    def element(self, *, uuid: str | None = None) -> Element:
        """``uuid`` keeps the identity of a filter that is defined again."""
        return node(
            "filter",
            {"name": self.name, "chain": "root"},
            node("uuid", None, uuid) if uuid else None,
            *(node("filterref", {"filter": name}) for name in self.refs),
            *(rule.element() for rule in self.rules),
        )

    def meaning(self) -> frozenset[object]:
        """What it says, however it is written down: to compare with what a host has."""
        return frozenset(
            {self.name, *self.refs, *(replace(each, match=tuple(sorted(each.match))) for each in self.rules)}
        )

    def xml(self, *, uuid: str | None = None) -> str:
        return to_xml(self.element(uuid=uuid))


def spec_of(root: Element) -> FilterSpec:
    """The filter as libvirt has it; raises ``ValueError`` for what no filter of ours holds."""
    rules = tuple(_rule_of(each) for each in root.findall("rule"))
    return FilterSpec(
        name=root.get("name", ""), rules=rules, refs=tuple(each.get("filter", "") for each in root.findall("filterref"))
    )


def _rule_of(element: Element) -> Rule:
    inner = next(iter(element), None)
    layer = "" if inner is None else str(inner.tag)
    if layer not in get_args(Layer.__value__) or len(element) > 1:
        raise ValueError(f"a rule of {layer}")
    return Rule(
        action=cast('Literal["accept", "drop"]', element.get("action")),
        direction=cast('Literal["in", "out", "inout"]', element.get("direction")),
        priority=int(element.get("priority", "500")),
        protocol=cast("Layer", layer),
        match=() if inner is None else tuple((str(key), str(value)) for key, value in inner.attrib.items()),
        stateful=element.get("statematch") not in ("false", "0"),
    )
