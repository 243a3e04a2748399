"""A domain as libvirt reads it; ``vms.design`` says what goes in, this says how it is written.

Source: https://libvirt.org/formatdomain.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from vms.hypervisor.sizes import SLOTS
from vms.hypervisor.xml.build import Element, node, to_xml
from vms.hypervisor.xml.devices import (
    AgentChannel,
    Balloon,
    Bandwidth,
    Disk,
    FilterRef,
    IoTune,
    Layer,
    Nic,
    Panic,
    Rng,
    Serial,
    Tablet,
    Tpm,
    Video,
    Vnc,
    Watchdog,
)
from vms.hypervisor.xml.firmware import BIOS, Firmware, Hyperv, clock
from vms.hypervisor.xml.metadata import Owner, Tag

__all__ = [
    "AgentChannel",
    "Balloon",
    "Bandwidth",
    "Cpu",
    "CpuTune",
    "Disk",
    "DomainSpec",
    "FilterRef",
    "Firmware",
    "Hyperv",
    "IoTune",
    "Layer",
    "Nic",
    "Owner",
    "Panic",
    "Rng",
    "Serial",
    "Tablet",
    "Tag",
    "Tpm",
    "Video",
    "Vnc",
    "Watchdog",
]


class Device(Protocol):
    """Whatever can stand inside ``<devices>``."""

    def element(self) -> Element: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """The processor a guest sees; ``model`` only with mode ``custom``."""

    mode: Literal["host-passthrough", "host-model", "maximum", "custom"] = "custom"
    model: str = "qemu64"

    def element(self, vcpus: int, memory_mib: int | None = None) -> Element:
        """``vcpus`` there can be at most; with ``memory_mib`` one NUMA cell of it, which modules plugged later belong to."""
        custom = self.mode == "custom"
        return node(
            "cpu",
            {"mode": self.mode, "match": "exact" if custom else None, "check": "none"},
            node("model", {"fallback": "forbid"}, self.model) if custom else None,
            node("topology", {"sockets": 1, "dies": 1, "cores": vcpus, "threads": 1}),
            None if memory_mib is None else node("numa", None, _cell(vcpus, memory_mib)),
        )


def _cell(vcpus: int, memory_mib: int) -> Element:
    cpus = f"0-{vcpus - 1}" if vcpus > 1 else "0"
    return node("cell", {"id": 0, "cpus": cpus, "memory": memory_mib, "unit": "MiB"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTune:
    """Limits of the vCPUs: each may use ``quota_us`` of every ``period_us``; ``shares`` weigh guests under load."""

    shares: int | None = None
    period_us: int | None = None
    quota_us: int | None = None

    def element(self) -> Element:
        return node(
            "cputune",
            None,
            None if self.shares is None else node("shares", None, self.shares),
            None if self.period_us is None else node("period", None, self.period_us),
            None if self.quota_us is None else node("quota", None, self.quota_us),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSpec:
    """One machine, whole. Sizes in MiB; ``uuid`` in canonical form; ``name`` unique on the host.

    ``title`` is free text for an operator's eyes (virsh list --title). ``memory_limit_mib`` is a hard limit of the
    whole QEMU process: leave None unless its overhead is known. ``tb_cache_mib`` bounds TCG's translation cache and is
    written only for ``kind='qemu'``. Up to ``vcpus_max`` and ``memory_mib_max`` it can grow while it runs (0: not at all).
    ``spare_ports`` are free PCIe ports of a q35 machine for hot-plugging: that many devices can be added between two starts.
    ``hyperv`` is what Windows is told of its hypervisor, written only for ``kind='kvm'``; with ``local_time`` the hardware
    clock shows the host's local time, as Windows reads it.
    """

    uuid: str
    name: str
    tag: Tag
    vcpus: int
    memory_mib: int
    vcpus_max: int = 0
    memory_mib_max: int = 0
    kind: Literal["kvm", "qemu"] = "qemu"
    arch: str = "x86_64"
    machine: str = "q35"
    firmware: Firmware = BIOS
    hyperv: Hyperv | None = None
    local_time: bool = False
    title: str = ""
    cpu: Cpu = Cpu()
    cputune: CpuTune | None = None
    memory_limit_mib: int | None = None
    tb_cache_mib: int | None = None
    share_pages: bool = False
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    vnc: Vnc | None = None
    serial: Serial | None = None
    agent: AgentChannel | None = field(default_factory=AgentChannel)
    tablet: Tablet | None = field(default_factory=Tablet)
    video: Video = field(default_factory=Video)
    rng: Rng | None = field(default_factory=Rng)
    balloon: Balloon = field(default_factory=Balloon)
    watchdog: Watchdog | None = None
    tpm: Tpm | None = None
    panic: Panic | None = field(default_factory=Panic)
    spare_ports: int = 0
    on_poweroff: Literal["destroy", "preserve"] = "destroy"
    on_reboot: Literal["restart", "destroy"] = "restart"
    on_crash: Literal["destroy", "restart", "preserve"] = "destroy"

    @property
    def _memory_grows(self) -> bool:
        return self.memory_mib_max > self.memory_mib

    def element(self) -> Element:
        top = max(self.vcpus, self.vcpus_max)
        return node(
            "domain",
            {"type": self.kind},
            node("name", None, self.name),
            node("uuid", None, self.uuid),
            node("title", None, self.title) if self.title else None,
            self.tag.element(),
            node("maxMemory", {"slots": SLOTS, "unit": "MiB"}, self.memory_mib_max) if self._memory_grows else None,
            node("memory", {"unit": "MiB"}, self.memory_mib),
            node("currentMemory", {"unit": "MiB"}, self.memory_mib),
            self._memtune(),
            None if self.share_pages else node("memoryBacking", None, node("nosharepages")),
            node("vcpu", {"placement": "static", "current": self.vcpus if top > self.vcpus else None}, top),
            self.cputune.element() if self.cputune else None,
            self.firmware.element(self.arch, self.machine),
            self._features(),
            self.cpu.element(top, self.memory_mib if self._memory_grows else None),
            clock(local_time=self.local_time, hyperv=self._hyperv is not None),
            node("on_poweroff", None, self.on_poweroff),
            node("on_reboot", None, self.on_reboot),
            node("on_crash", None, self.on_crash),
            node("pm", None, node("suspend-to-mem", {"enabled": False}), node("suspend-to-disk", {"enabled": False})),
            self._devices(),
        )

    def xml(self) -> str:
        """What ``virDomainDefineXML`` is given, once the allow-list has passed it."""
        return to_xml(self.element())

    def _memtune(self) -> Element | None:
        if self.memory_limit_mib is None:
            return None
        return node("memtune", None, node("hard_limit", {"unit": "MiB"}, self.memory_limit_mib))

    @property
    def _hyperv(self) -> Hyperv | None:
        return self.hyperv if self.kind == "kvm" else None

    def _features(self) -> Element:
        cache = self.tb_cache_mib if self.kind == "qemu" else None
        return node(
            "features",
            None,
            node("acpi"),
            node("apic"),
            self._hyperv.element() if self._hyperv else None,
            node("smm", {"state": "on"}) if self.firmware.secure_boot else None,
            node("vmport", {"state": "off"}),
            None if cache is None else node("tcg", None, node("tb-cache", {"unit": "MiB"}, cache)),
        )

    def _devices(self) -> Element:
        single: tuple[Device | None, ...] = (
            self.serial,
            self.agent,
            self.tablet,
            self.vnc,
            self.video,
            self.watchdog,
            self.rng,
            self.balloon,
            self.tpm,
            self.panic,
        )
        return node(
            "devices",
            None,
            *(disk.element() for disk in self.disks),
            *self._controllers(),
            *(nic.element() for nic in self.nics),
            *(device.element() for device in single if device is not None),
        )

    def _ports_taken(self) -> int:
        """How many root ports the machine's own devices fill: libvirt puts them on the ports we name before it adds any.

        Each virtio device, each card, the USB controller that every q35 machine has, and the bridge to a conventional slot
        that a watchdog sits in; screen and SATA are part of the board (libvirt 9.0).
        """
        disks = sum(disk.bus == "virtio" for disk in self.disks) + any(disk.bus == "scsi" for disk in self.disks)
        tablet = self.tablet is not None and self.tablet.bus == "virtio"
        watchdog = self.watchdog is not None and self.watchdog.model == "i6300esb"
        devices = (self.agent is not None, self.rng is not None, tablet, watchdog)
        usb = balloon = 1
        return disks + len(self.nics) + usb + balloon + sum(devices)

    def _controllers(self) -> list[Element]:
        scsi = [node("controller", {"type": "scsi", "model": "virtio-scsi"})]
        root = [node("controller", {"type": "pci", "index": 0, "model": "pcie-root"})]
        count = self.spare_ports + self._ports_taken() if self.spare_ports else 0
        port = [node("controller", {"type": "pci", "model": "pcie-root-port"}) for _ in range(count)]
        return (scsi if any(disk.bus == "scsi" for disk in self.disks) else []) + (root + port if port else [])
