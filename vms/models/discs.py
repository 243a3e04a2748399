"""CDs in machines' drives."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenants.scoping import TenantOwned

DRIVES = 2
"""So many CD drives has every machine, counted from 1."""


class DiscBoot(models.TextChoices):
    """When the machine is started from the CD: where no disk can be, at its next start before any disk, or always so."""

    AFTER = "after", _("Where no disk can be started from")
    ONCE = "once", _("First, at the next start only")
    FIRST = "first", _("First, at every start")


class Disc(TenantOwned):
    """A CD that lies in a machine's drive, or is being put there, or is not yet seen to be out."""

    guest = models.ForeignKey("vms.Guest", on_delete=models.CASCADE, related_name="discs")
    drive = models.PositiveSmallIntegerField()
    image = models.ForeignKey("vms.Image", on_delete=models.PROTECT, related_name="+")
    boot = models.CharField(max_length=5, choices=DiscBoot.choices, default=DiscBoot.AFTER)
    is_out = models.BooleanField(default=False)
    """Did the machine's system open the tray? At its next start the CD is in again."""
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["guest", "drive"]
        constraints = [
            models.UniqueConstraint("guest", "drive", name="disc_once_a_drive"),
            models.CheckConstraint(condition=Q(drive__gte=1, drive__lte=DRIVES), name="disc_in_a_drive_there_is"),
            models.CheckConstraint(condition=Q(boot__in=DiscBoot.values), name="disc_boot_known"),
        ]

    def __str__(self) -> str:
        return f"CD in drive {self.drive} of {self.guest_id}"
