"""What a machine is built of besides its size: said of an image, copied to a machine that is made of it."""

from __future__ import annotations

from django.db import models

from vms.states import TRAITS, Trait


class DiskBus(models.TextChoices):
    """How the first disk hangs on a machine; a system without virtio's drivers sees only the others."""

    VIRTIO = "virtio"
    SCSI = "scsi"
    SATA = "sata"


class NicModel(models.TextChoices):
    """What its network cards are; e1000e is a card that every system knows."""

    VIRTIO = "virtio"
    E1000E = "e1000e"


class Hardware(models.Model):
    """Firmware, TPM, bus and cards; ``secure_boot`` is UEFI's."""

    firmware = models.CharField(max_length=8, default="bios")
    secure_boot = models.BooleanField(default=False, db_default=False)
    tpm = models.BooleanField(default=False, db_default=False)
    disk_bus = models.CharField(
        max_length=8, choices=DiskBus.choices, default=DiskBus.VIRTIO, db_default=DiskBus.VIRTIO.value
    )
    nic_model = models.CharField(
        max_length=8, choices=NicModel.choices, default=NicModel.VIRTIO, db_default=NicModel.VIRTIO.value
    )

    class Meta:
        abstract = True

    @property
    def traits(self) -> frozenset[Trait]:
        """What of it not every host has."""
        has = {"uefi": self.firmware == "uefi", "secure_boot": self.secure_boot, "tpm": self.tpm}
        return frozenset(trait for trait in TRAITS if has[trait])


HARDWARE = ("firmware", "secure_boot", "tpm", "disk_bus", "nic_model")
"""What is copied from an image, and may be changed of it without changing a machine."""
