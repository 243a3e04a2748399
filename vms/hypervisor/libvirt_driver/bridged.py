"""Whether a host hands bridged frames to its packet filter: without that the stateful rules of filters are there and do nothing.

libvirt puts them into ``iptables`` and binds them to a card's port of its bridge. That only sees frames that ``br_netfilter``
hands over, which the kernel does unless somebody has told it not to
(https://docs.kernel.org/admin-guide/sysctl/net.html, https://libvirt.org/formatnwfilter.html#limitations).
No call of libvirt's says so; but it reads a directory's files as volumes, and these switches are files.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

import libvirt

from vms.hypervisor.errors import HypervisorError, Unreachable
from vms.hypervisor.libvirt_driver.link import Link
from vms.hypervisor.libvirt_driver.translate import translated
from vms.hypervisor.xml.pool import PoolSpec

FOLDER: Final = "/proc/sys/net/bridge"
SWITCHES: Final = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")
_MOST: Final = 16
"""Bytes that are read of a switch; it is a digit and a line's end."""


class Bridged(Link):
    """The part of the driver that reads those switches."""

    def _switched_off(self, pool: str) -> tuple[str, ...]:
        """The switches that are 0, read by way of a pool of that name, which is gone afterwards; nothing is written.

        Raises ``HypervisorError`` where they cannot be read: they are there once a stateful rule has been put in place.
        """
        with translated("read how bridges are filtered"):
            with contextlib.suppress(libvirt.libvirtError):  # what a worker that died here left
                self.raw.storagePoolLookupByName(pool).destroy()
            raw = self.raw.storagePoolCreateXML(PoolSpec(name=pool, path=FOLDER, plain=True).xml(), 0)
            try:
                return tuple(switch for switch in SWITCHES if self._reads(raw, switch) == b"0")
            finally:
                with contextlib.suppress(libvirt.libvirtError):
                    raw.destroy()

    def _reads(self, pool: Any, name: str) -> bytes:
        stream, read = self.raw.newStream(0), b""
        try:
            pool.storageVolLookupByName(name).download(stream, 0, 0, 0)
            while len(read) < _MOST and (chunk := stream.recv(_MOST)):
                read += chunk
        finally:
            with contextlib.suppress(libvirt.libvirtError):
                stream.abort()
        return read.strip()

    def _filters_bridges(self, pool: str, notes: list[str]) -> bool:
        """False where one of the switches is off; where nobody can say, a note says that."""
        try:
            off = self._switched_off(pool)
        except Unreachable:
            raise
        except HypervisorError as error:
            notes.append(f"Whether bridged frames pass the packet filter could not be read: {error.detail}")
            return True
        if off:
            words = " and ".join(f"net.bridge.{switch}" for switch in off)
            notes.append(f"This host does not enforce groups: {words} must be 1; then test the host again.")
        return not off
