"""What libvirt is told to hold disks open with.

Source: https://libvirt.org/formatbackup.html, https://libvirt.org/formatcheckpoint.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vms.hypervisor.xml.build import Element, node


@dataclass(frozen=True, slots=True)
class BackupSpec:
    """A pull of some disks through a unix socket: their scratch files by target; ``others`` are left alone."""

    socket: str
    scratch: Mapping[str, str]
    others: Sequence[str]
    since: str = ""

    def element(self) -> Element:
        """The ``<domainbackup>``."""
        disks = [
            node("disk", {"name": target, "backup": "yes", "type": "file"}, node("scratch", {"file": file}))
            for target, file in self.scratch.items()
        ]
        return node(
            "domainbackup",
            {"mode": "pull"},
            node("incremental", None, self.since) if self.since else None,
            node("server", {"transport": "unix", "socket": self.socket}),
            node("disks", None, *disks, *(node("disk", {"name": name, "backup": "no"}) for name in self.others)),
        )


@dataclass(frozen=True, slots=True)
class CheckpointSpec:
    """A mark on some disks; ``others`` get none."""

    name: str
    targets: Sequence[str]
    others: Sequence[str]

    def element(self) -> Element:
        """The ``<domaincheckpoint>``."""
        disks = [node("disk", {"name": target, "checkpoint": "bitmap"}) for target in self.targets]
        rest = [node("disk", {"name": target, "checkpoint": "no"}) for target in self.others]
        return node("domaincheckpoint", None, node("name", None, self.name), node("disks", None, *disks, *rest))
