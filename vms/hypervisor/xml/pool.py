"""A storage pool of a host: a directory, its own or mounted, a volume group, or a pool of a Ceph cluster.

Source: https://libvirt.org/formatstorage.html, https://libvirt.org/storage.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vms.hypervisor.xml.build import Element, node, to_xml

type PoolType = Literal["dir", "netfs", "logical", "rbd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CephUser:
    """Who a host is to a Ceph cluster: a name, and the uuid of the secret that libvirt keeps there. The key never passes us."""

    name: str
    secret: str

    def element(self, *, of: Literal["pool", "disk"]) -> Element:
        """A pool's says what it is for itself, a disk's secret does."""
        secret = node("secret", {"uuid": self.secret, "type": "ceph" if of == "disk" else None})
        return node("auth", {"type": "ceph" if of == "pool" else None, "username": self.name}, secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """A pool. Directories have mode 0711: QEMU's user passes through to a disk it was given and lists nothing.

    ``path`` is where it lies on the host: the directory, the mount point, the volume group's folder in ``/dev``; a Ceph pool
    has none. ``servers`` and ``source`` say where it comes from: an NFS server and what it exports, a volume group's name,
    Ceph's monitors and its pool's name.
    """

    name: str
    path: str = ""
    type: PoolType = "dir"
    servers: tuple[str, ...] = ()
    source: str = ""
    ceph: CephUser | None = None
    plain: bool = False
    """A directory that is as it is: nothing is said of its mode."""

    def element(self) -> Element:
        ours = self.type == "dir" and not self.plain
        mode = node("permissions", None, node("mode", None, "0711")) if ours else None
        target = node("target", None, node("path", None, self.path), mode) if self.path else None
        return node("pool", {"type": self.type}, node("name", None, self.name), self._source(), target)

    def xml(self) -> str:
        return to_xml(self.element())

    def _source(self) -> Element | None:
        if self.type == "dir":
            return None
        if self.type == "netfs":
            format_ = node("format", {"type": "nfs"})
            return node("source", None, *self._hosts(), node("dir", {"path": self.source}), format_)
        name = node("name", None, self.source)
        if self.type == "logical":
            return node("source", None, name, node("format", {"type": "lvm2"}))
        return node("source", None, *self._hosts(), name, self.ceph.element(of="pool") if self.ceph else None)

    def _hosts(self) -> list[Element]:
        return [node("host", {"name": server}) for server in self.servers]
