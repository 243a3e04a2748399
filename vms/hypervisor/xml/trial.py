"""The throw-away machine that shows what a host can do: firmware only, no disk, it talks on its serial line.

Source: https://libvirt.org/formatdomain.html#bios-bootloader (``useserial``: SeaBIOS writes to the first serial line)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vms.hypervisor.xml.build import Element, node, to_xml
from vms.hypervisor.xml.devices import Bandwidth, FilterRef
from vms.hypervisor.xml.metadata import Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialNetwork:
    """A bare bridge: no address, no DHCP, no way out."""

    name: str
    bridge: str
    tag: Tag

    def xml(self) -> str:
        bridge = node("bridge", {"name": self.bridge, "stp": "on", "delay": 0})
        return to_xml(node("network", None, node("name", None, self.name), self.tag.element(), bridge))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialDomain:
    """16 MiB and a firmware, with the limits to be tried; with a ``network`` it has one card."""

    name: str
    tag: Tag
    kind: Literal["kvm", "qemu"]
    cpu_quota_us: int | None = None
    memory_limit_mib: int | None = None
    network: str = ""
    bandwidth: Bandwidth | None = None
    filter: FilterRef | None = None

    def xml(self) -> str:
        limit = self.memory_limit_mib
        cpu = [node("period", None, 100_000), node("quota", None, self.cpu_quota_us)] if self.cpu_quota_us else None
        hvm = node(
            "os", None, node("type", {"arch": "x86_64", "machine": "pc"}, "hvm"), node("bios", {"useserial": True})
        )
        domain = node(
            "domain",
            {"type": self.kind},
            node("name", None, self.name),
            self.tag.element(),
            node("memory", {"unit": "MiB"}, 16),
            None if limit is None else node("memtune", None, node("hard_limit", {"unit": "MiB"}, limit)),
            node("vcpu", None, 1),
            node("cputune", None, *cpu) if cpu else None,
            hvm,
            node("on_crash", None, "destroy"),
            self._devices(),
        )
        return to_xml(domain)

    def _devices(self) -> Element:
        return node(
            "devices",
            None,
            node("controller", {"type": "usb", "model": "none"}),
            self._card(),
            node("serial", {"type": "pty"}),
            node("memballoon", {"model": "none"}),
        )

    def _card(self) -> Element | None:
        if not self.network:
            return None
        return node(
            "interface",
            {"type": "network"},
            node("source", {"network": self.network}),
            node("model", {"type": "virtio"}),
            self.bandwidth.element() if self.bandwidth else None,
            self.filter.element() if self.filter else None,
        )
