"""A storage pool: one directory on a host.

Source: https://libvirt.org/formatstorage.html
"""

from __future__ import annotations

from dataclasses import dataclass

from vms.hypervisor.xml.build import Element, node, to_xml


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """A directory pool. Mode 0711: QEMU's user passes through to a disk it was given and lists nothing."""

    name: str
    path: str

    def element(self) -> Element:
        target = node(
            "target", None, node("path", None, self.path), node("permissions", None, node("mode", None, "0711"))
        )
        return node("pool", {"type": "dir"}, node("name", None, self.name), target)

    def xml(self) -> str:
        return to_xml(self.element())
