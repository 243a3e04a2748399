"""A volume: one file in a pool.

Source: https://libvirt.org/formatstorage.html#storage-volume-xml
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vms.hypervisor.xml.build import Element, node, to_xml
from vms.hypervisor.xml.devices import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """A volume of ``capacity`` bytes, mode 0600; sparse, or ``thick`` with all its bytes taken at once.

    ``backing`` is the one file directly below a qcow2 overlay.
    """

    name: str
    capacity: int
    format: Literal["qcow2", "raw"] = "qcow2"
    backing: Layer | None = None
    thick: bool = False

    def element(self) -> Element:
        return node(
            "volume",
            {"type": "file"},
            node("name", None, self.name),
            node("capacity", {"unit": "bytes"}, self.capacity),
            node("allocation", {"unit": "bytes"}, self.capacity if self.thick else 0),
            node(
                "target",
                None,
                node("format", {"type": self.format}),
                node("permissions", None, node("mode", None, "0600")),
                # Subclusters and lazy refcounts need the newer header; every QEMU since 1.7 reads it.
                node("compat", None, "1.1") if self.format == "qcow2" else None,
            ),
            self._backing(),
        )

    def xml(self) -> str:
        return to_xml(self.element())

    def _backing(self) -> Element | None:
        if self.backing is None:
            return None
        return node(
            "backingStore",
            None,
            node("path", None, self.backing.path),
            node("format", {"type": self.backing.format}),
        )
