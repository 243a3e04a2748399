"""The devices of a domain: one frozen dataclass per element, each building its own ``.element()``.

Policy (which bus, which model, which limit) is the caller's; here is only libvirt's grammar.
Source: https://libvirt.org/formatdomain.html#devices
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vms.hypervisor.xml.build import Element, node
from vms.hypervisor.xml.pool import CephUser

type Model = Literal["virtio", "e1000", "e1000e"]

INTEGRATION = "br-int"
"""The bridge on which OVN's controller looks for the ports of its host."""
VNC_PASSWORD_MAX = 8
"""VNC authentication uses the first eight bytes of a password and silently ignores the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IoTune:
    """Throttling of one disk by QEMU itself; totals per second, None is unlimited."""

    bytes_per_s: int | None = None
    iops: int | None = None

    def element(self) -> Element:
        return node(
            "iotune",
            None,
            None if self.bytes_per_s is None else node("total_bytes_sec", None, self.bytes_per_s),
            None if self.iops is None else node("total_iops_sec", None, self.iops),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimm:
    """A memory module to be plugged into a running domain whose definition has room for it."""

    size_mib: int

    def element(self) -> Element:
        size = node("size", {"unit": "MiB"}, self.size_mib)
        return node("memory", {"model": "dimm"}, node("target", None, size, node("node", None, 0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One backing file below a disk; naming the chain keeps libvirt from believing what an image's header says."""

    path: str
    format: Literal["qcow2", "raw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceph:
    """A Ceph cluster as a disk names it: its monitors, and who the host is to it."""

    monitors: tuple[str, ...]
    user: CephUser | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk on a volume of a pool: a file, a block device, or an image of a Ceph cluster (``pool/image``, by ``ceph``).

    ``path`` is absolute but for an image's; ``target`` is libvirt's name for it (``vda``, ``sda``).
    ``backing`` is the whole chain below, nearest first; ``()`` says there is none, None lets libvirt read the image's
    header. ``boot_order`` counts from 1. ``serial`` is what the guest sees, at most 20 characters. A ``cdrom`` without a
    ``path`` is a drive with nothing in it.
    """

    path: str
    target: str
    format: Literal["qcow2", "raw"] = "qcow2"
    bus: Literal["virtio", "scsi", "sata", "ide"] = "virtio"
    device: Literal["disk", "cdrom"] = "disk"
    readonly: bool = False
    boot_order: int | None = None
    serial: str | None = None
    cache: Literal["none", "writeback", "directsync", "unsafe"] | None = None
    discard: bool = True
    iotune: IoTune | None = None
    backing: tuple[Layer, ...] | None = None
    lies: Literal["file", "block", "network"] = "file"
    ceph: Ceph | None = None

    def element(self) -> Element:
        driver = {
            "name": "qemu",
            "type": self.format,
            "cache": self.cache,
            "discard": "unmap" if self.discard and not self.readonly else None,
        }
        return node(
            "disk",
            {"type": self.lies, "device": self.device},
            node("driver", driver),
            self.ceph.user.element(of="disk") if self.ceph and self.ceph.user else None,
            self._source() if self.path else None,
            None if self.backing is None or not self.path else _backing(self.backing),
            node("target", {"dev": self.target, "bus": self.bus}),
            self.iotune.element() if self.iotune else None,
            node("readonly") if self.readonly else None,
            node("serial", None, self.serial) if self.serial else None,
            None if self.boot_order is None else node("boot", {"order": self.boot_order}),
        )

    def _source(self) -> Element:
        if self.lies == "network":
            monitors = self.ceph.monitors if self.ceph else ()
            hosts = [node("host", {"name": name}) for name in monitors]
            return node("source", {"protocol": "rbd", "name": self.path}, *hosts)
        return node("source", {"dev" if self.lies == "block" else "file": self.path})


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterRef:
    """The packet filter of a NIC. ``ip`` becomes its variable ``$IP``; ``$MAC`` libvirt fills in itself."""

    name: str
    ip: str

    def element(self) -> Element:
        return node("filterref", {"filter": self.name}, node("parameter", {"name": "IP", "value": self.ip}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Limits of a NIC in kbit/s as the guest sees them: ``inbound`` to it, ``outbound`` from it; None is unlimited.

    libvirt counts in KiB/s, so a limit is rounded down to the next 8.192 kbit/s, at least one.
    """

    inbound_kbit: int | None = None
    outbound_kbit: int | None = None

    @property
    def kib(self) -> tuple[int, int]:
        """Both as libvirt counts them, in KiB a second; 0 is unlimited."""
        return _kib(self.inbound_kbit), _kib(self.outbound_kbit)

    def element(self) -> Element:
        return node("bandwidth", None, *map(_rate, ("inbound", "outbound"), self.kib))


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network card on a libvirt network, or on Open vSwitch as ``port``, a uuid. ``mac`` is lower-case with colons.

    Without ``offload`` the machine does its checksums and segments itself: a switch in user space does neither.
    """

    mac: str
    network: str = ""
    port: str = ""
    offload: bool = True
    model: Model = "virtio"
    filter: FilterRef | None = None
    bandwidth: Bandwidth | None = None
    link_up: bool = True
    mtu: int | None = None

    def element(self) -> Element:
        return node(
            "interface",
            {"type": "bridge" if self.port else "network"},
            node("mac", {"address": self.mac}),
            node("source", {"bridge": INTEGRATION} if self.port else {"network": self.network}),
            _virtualport(self.port) if self.port else None,
            node("model", {"type": self.model}),
            None if self.offload else _no_offload(),
            node("mtu", {"size": self.mtu}) if self.mtu else None,
            self.bandwidth.element() if self.bandwidth else None,
            self.filter.element() if self.filter else None,
            node("link", {"state": "up" if self.link_up else "down"}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vnc:
    """The screen, on a unix socket. ``password`` has at most eight ASCII characters and never reaches QEMU's argv.

    The socket must not lie below libvirt's own ``/var/lib/libvirt/qemu``: libvirt takes such a path for one it made
    itself and silently drops it.
    """

    socket: str
    password: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.password) <= VNC_PASSWORD_MAX or not self.password.isascii():
            raise ValueError(f"a VNC password has 1 to {VNC_PASSWORD_MAX} ASCII characters")
        if self.socket.startswith("/var/lib/libvirt/qemu/"):
            raise ValueError("libvirt drops VNC sockets below its own state directory")

    def element(self) -> Element:
        listen = node("listen", {"type": "socket", "socket": self.socket})
        attributes = {"type": "vnc", "passwd": self.password, "sharePolicy": "ignore"}
        return node("graphics", attributes, listen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serial:
    """The first serial line: a unix socket QEMU listens on, and ``log``, a file that keeps all the guest wrote."""

    socket: str
    log: str

    def element(self) -> Element:
        return node(
            "serial",
            {"type": "unix"},
            node("source", {"mode": "bind", "path": self.socket}),
            node("log", {"file": self.log, "append": "on"}),
            node("target", {"type": "isa-serial", "port": 0}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentChannel:
    """The line to the QEMU guest agent; libvirt chooses the socket."""

    def element(self) -> Element:
        target = node("target", {"type": "virtio", "name": "org.qemu.guest_agent.0"})
        return node("channel", {"type": "unix"}, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tablet:
    """A pointer with absolute positions, so that the browser's and the guest's agree."""

    bus: Literal["usb", "virtio"] = "usb"

    def element(self) -> Element:
        return node("input", {"type": "tablet", "bus": self.bus})


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """The graphics card; ``vram_kib`` None leaves the model's default."""

    model: Literal["vga", "virtio", "none"] = "vga"
    vram_kib: int | None = None

    def element(self) -> Element:
        return node("video", None, node("model", {"type": self.model, "vram": self.vram_kib}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rng:
    """Entropy from the host, limited to ``bytes_per_s``."""

    bytes_per_s: int = 1024

    def element(self) -> Element:
        return node(
            "rng",
            {"model": "virtio"},
            node("rate", {"period": 1000, "bytes": self.bytes_per_s}),
            node("backend", {"model": "random"}, "/dev/urandom"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Balloon:
    """The memory balloon; with ``stats_period_s`` the guest reports its own figures that often."""

    stats_period_s: int | None = 10

    def element(self) -> Element:
        stats = node("stats", {"period": self.stats_period_s}) if self.stats_period_s else None
        return node("memballoon", {"model": "virtio"}, stats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """A hardware watchdog the guest may arm."""

    model: Literal["i6300esb", "itco"] = "i6300esb"
    action: Literal["reset", "poweroff", "pause"] = "reset"

    def element(self) -> Element:
        return node("watchdog", {"model": self.model, "action": self.action})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tpm:
    """A TPM 2.0 played by swtpm; libvirt keeps its state by the domain's uuid, on the host and outside every pool.

    The TIS model serves BIOS and UEFI and every guest system that knows a TPM; CRB is UEFI's only.
    """

    model: Literal["tpm-tis", "tpm-crb"] = "tpm-crb"

    def element(self) -> Element:
        return node("tpm", {"model": self.model}, node("backend", {"type": "emulator", "version": "2.0"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Panic:
    """Tells the host of a guest kernel's panic; the ISA model works with every libvirt we serve (PCI needs 9.1)."""

    def element(self) -> Element:
        return node("panic", {"model": "isa"})


def _backing(layers: tuple[Layer, ...]) -> Element:
    if not layers:
        return node("backingStore")
    nearest = layers[0]
    return node(
        "backingStore",
        {"type": "file"},
        node("format", {"type": nearest.format}),
        node("source", {"file": nearest.path}),
        _backing(layers[1:]),
    )


def _kib(kbit: int | None) -> int:
    return 0 if kbit is None else max(1, kbit * 1000 // 8 // 1024)


def _virtualport(port: str) -> Element:
    return node("virtualport", {"type": "openvswitch"}, node("parameters", {"interfaceid": port}))


def _no_offload() -> Element:
    """Source: https://libvirt.org/formatdomain.html#setting-nic-driver-specific-options"""
    off = dict.fromkeys(("csum", "tso4", "tso6", "ecn", "ufo"), "off")
    return node("driver", None, node("host", {**off, "gso": "off", "mrg_rxbuf": "off"}), node("guest", off))


def _rate(direction: str, kib: int) -> Element | None:
    return node(direction, {"average": kib}) if kib else None
