"""What libvirt is told about snapshots, and the domain that never runs by which it finds disks that nobody has open.

Source: https://libvirt.org/formatsnapshot.html
"""

from __future__ import annotations

import copy
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vms.hypervisor.xml.build import Element, node, to_xml
from vms.hypervisor.xml.devices import Disk
from vms.hypervisor.xml.metadata import NAMESPACE, Owner, Tag

MOST_DISKS: Final = len(string.ascii_lowercase)
SUBJECT: Final = "keeper"
"""What its metadata says it is: no machine's id, so that nobody takes it for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """A domain that holds disks and is never started to run: the handle for ``qemu-img`` on a host."""

    name: str
    uuid: str
    owner: Owner
    paths: Sequence[str]

    def disks(self) -> list[Element]:
        """Its disks, in order."""
        pairs = zip(self.paths, string.ascii_lowercase, strict=False)
        return [Disk(path=path, target=f"vd{letter}", backing=()).element() for path, letter in pairs]

    def xml(self) -> str:
        return to_xml(
            node(
                "domain",
                {"type": "qemu"},
                node("name", None, self.name),
                node("uuid", None, self.uuid),
                Tag(owner=self.owner, subject=SUBJECT).element(),
                node("memory", {"unit": "MiB"}, 16),
                node("vcpu", None, 1),
                node("os", None, node("type", {"arch": "x86_64", "machine": "pc"}, "hvm")),
                node("devices", None, *self.disks()),
            )
        )


def snapshot_xml(name: str, *, domain: Element | None = None, state: str = "shutoff") -> str:
    """A snapshot to be taken; with ``domain``, one that its disks hold already, of a domain that was in ``state``."""
    if domain is None:
        return to_xml(node("domainsnapshot", None, node("name", None, name)))
    return to_xml(
        node(
            "domainsnapshot",
            None,
            node("name", None, name),
            node("state", None, state),
            node("creationTime", None, 1),
            node("memory", {"snapshot": "internal" if state == "running" else "no"}),
            domain,
        )
    )


def awakened(root: Element, *, tag: Tag, password: str) -> Element:
    """A definition as it ran once, to run again: with this metadata and this display password. ``root`` stays as it is."""
    again = copy.deepcopy(root)
    again.attrib.pop("id", "")
    for graphics in again.findall("devices/graphics"):
        graphics.set("passwd", password)
    metadata = again.find("metadata")
    if metadata is not None:
        for ours in metadata.findall(f"{{{NAMESPACE}}}owner"):
            metadata.remove(ours)
        metadata.extend(list(tag.element()))
    return again


def files_of(root: Element) -> list[str]:
    """Every file that a definition's disks name, those below them and read-only ones among them."""
    return [str(source.get("file")) for source in root.iterfind("devices/disk//source") if source.get("file")]


def written_files(root: Element) -> set[str]:
    """The files that its disks write to."""
    disks = [disk for disk in root.iterfind("devices/disk") if disk.find("readonly") is None]
    return {str(source.get("file")) for disk in disks if (source := disk.find("source")) is not None}
