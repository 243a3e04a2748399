"""What a machine starts with before any disk is read: BIOS or UEFI, its clock, and what Windows is told of its hypervisor.

Source: https://libvirt.org/formatdomain.html#operating-system-booting, #hypervisor-features, #time-keeping
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vms.hypervisor.xml.build import Element, node

SPINLOCK_RETRIES = 8191
"""How often Windows spins on a lock before it tells the hypervisor; QEMU's documents and Hyper-V itself say 0x1fff."""

_ENLIGHTENMENTS = ("relaxed", "vapic", "vpindex", "runtime", "synic", "stimer", "frequencies", "tlbflush", "ipi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """BIOS, or UEFI, which libvirt chooses from what the host has by the features named here.

    ``nvram`` is the absolute path of the file that keeps UEFI's variables; libvirt makes it at the first start, with
    Microsoft's keys in it for ``secure_boot``. Empty: libvirt chooses the path, and another machine's copy is never found.
    """

    kind: Literal["bios", "uefi"] = "bios"
    secure_boot: bool = False
    nvram: str = ""

    def __post_init__(self) -> None:
        if self.kind == "bios" and (self.secure_boot or self.nvram):
            raise ValueError("a BIOS has neither Secure Boot nor variables")

    def element(self, arch: str, machine: str) -> Element:
        uefi = self.kind == "uefi"
        features = [node("feature", {"enabled": self.secure_boot, "name": "secure-boot"})]
        if self.secure_boot:
            features.insert(0, node("feature", {"enabled": True, "name": "enrolled-keys"}))
        return node(
            "os",
            {"firmware": "efi" if uefi else None},
            node("type", {"arch": arch, "machine": machine}, "hvm"),
            node("firmware", None, *features) if uefi else None,
            node("nvram", None, self.nvram) if self.nvram else None,
        )


BIOS = Firmware()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperv:
    """Enlightenments: Windows asks its hypervisor for time, interrupts and locks instead of emulated hardware.

    KVM provides them; an emulated machine has none. Source: https://www.qemu.org/docs/master/system/i386/hyperv.html
    """

    def element(self) -> Element:
        found = [node(name, {"state": "on"}) for name in _ENLIGHTENMENTS]
        found.insert(2, node("spinlocks", {"state": "on", "retries": SPINLOCK_RETRIES}))
        return node("hyperv", {"mode": "custom"}, *found)


def clock(*, local_time: bool, hyperv: bool) -> Element:
    """The hardware clock in UTC or the host's local time; lost ticks of it are made up for."""
    return node(
        "clock",
        {"offset": "localtime" if local_time else "utc"},
        node("timer", {"name": "rtc", "tickpolicy": "catchup"}),
        node("timer", {"name": "pit", "tickpolicy": "delay"}),
        node("timer", {"name": "hpet", "present": False}),
        node("timer", {"name": "hypervclock", "present": True}) if hyperv else None,
    )
