"""What machines can be built of on a host: UEFI, Secure Boot, a TPM. Its libvirt is asked; nothing starts, nothing stays."""

from __future__ import annotations

from typing import Any, Final, Literal

from vms.hypervisor.errors import HypervisorError, Unreachable
from vms.hypervisor.libvirt_driver.translate import translated
from vms.hypervisor.xml.build import Element
from vms.hypervisor.xml.domain import DomainSpec
from vms.hypervisor.xml.firmware import Firmware
from vms.hypervisor.xml.metadata import Owner, Tag
from vms.hypervisor.xml.parse import root_of
from vms.states import TRAITS, Trait

_UUID: Final = "00000000-0000-4000-8000-000000000000"
_NOTES: Final[dict[Trait, str]] = {
    "uefi": "Machines with UEFI firmware cannot run here (package ovmf or edk2-ovmf): ",
    "secure_boot": "Machines with Secure Boot cannot run here (a UEFI with Microsoft's keys): ",
    "tpm": "Machines with a TPM cannot run here (packages swtpm and swtpm-tools): ",
}


def traits_found(raw: Any, *, owner: Owner, kind: Literal["kvm", "qemu"], notes: list[str]) -> tuple[Trait, ...]:
    """What the host has; for each that it has not, a sentence goes into ``notes``."""
    found: list[Trait] = []
    for trait in TRAITS:
        try:
            why = _lacking(raw, trait, owner, kind)
        except Unreachable:
            raise
        except HypervisorError as error:
            why = error.detail
        if why:
            notes.append(f"{_NOTES[trait]}{why}")
        else:
            found.append(trait)
    return tuple(found)


def _lacking(raw: Any, trait: Trait, owner: Owner, kind: Literal["kvm", "qemu"]) -> str:
    """Empty where the host has it; raises what the host says where it cannot build the machine."""
    if trait == "tpm":
        return _tpm_lacking(raw, kind)
    spec = DomainSpec(
        uuid=_UUID,
        name=f"{owner.installation}-traits",
        tag=Tag(owner=owner, subject="traits"),
        vcpus=1,
        memory_mib=64,
        kind=kind,
        firmware=Firmware(kind="uefi", secure_boot=trait == "secure_boot"),
    )
    with translated("choose the firmware of a machine"):
        raw.domainXMLToNative("qemu-argv", spec.xml(), 0)
    return ""


def _tpm_lacking(raw: Any, kind: str) -> str:
    with translated("read what machines can have"):
        capabilities = root_of(raw.getDomainCapabilities(None, "x86_64", "q35", kind, 0))
    return tpm_lacking(capabilities)


def tpm_lacking(capabilities: Element) -> str:
    """Why machines cannot have a TPM 2.0 that swtpm plays, by ``domainCapabilities``; empty where they can.

    Source: https://libvirt.org/formatdomaincaps.html#tpm-device
    """
    said = {
        name: {each.text for each in capabilities.iterfind(f"devices/tpm/enum[@name='{name}']/value")}
        for name in ("model", "backendModel", "backendVersion")
    }
    if not {"tpm-tis", "tpm-crb"} <= said["model"]:
        return "its QEMU has none."
    if "emulator" not in said["backendModel"]:
        return "libvirt finds no swtpm."
    return "" if "2.0" in said["backendVersion"] else "its swtpm has no version 2.0."
