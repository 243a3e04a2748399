"""What a machine is built of, in words."""

from __future__ import annotations

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from vms.models.hardware import DiskBus, Hardware, NicModel
from vms.states import Trait

TRAIT_WORDS: Final[dict[Trait, Promise]] = {
    "uefi": gettext_lazy("UEFI"),
    "secure_boot": gettext_lazy("Secure Boot"),
    "tpm": gettext_lazy("TPM 2.0"),
}
"""What not every host has, in words."""


def hardware_words(of: Hardware) -> str:
    """Such as "UEFI, Secure Boot, TPM 2.0"; what nearly every machine has is not said."""
    found = [
        of.firmware.upper(),
        _("Secure Boot") if of.secure_boot else "",
        _("TPM 2.0") if of.tpm else "",
        _("disk on %s") % DiskBus(of.disk_bus).name if of.disk_bus != DiskBus.VIRTIO else "",
        _("card %s") % of.nic_model if of.nic_model != NicModel.VIRTIO else "",
    ]
    return ", ".join(filter(None, found))
