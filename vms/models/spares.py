"""Disks that a machine has only for a while."""

from __future__ import annotations

from django.db import models

from portal.core.units import GIB
from tenants.scoping import TenantOwned


class SpareRole(models.TextChoices):
    """What the disk is there for."""

    FRESH = "fresh", "Fresh"
    """It takes the place of the first disk once it is whole."""
    WORN = "worn", "Worn"
    """It was the first disk, and its file is still to be deleted."""
    RESCUE = "rescue", "Rescue"
    """The machine starts from it, beside its own disks."""


class Spare(TenantOwned):
    """A disk of a machine that is none of its volumes: counted by no quota, gone with the work that needs it.

    Named on the pool by its id, as volumes are: a fresh one becomes a volume of that id.
    """

    guest = models.ForeignKey("vms.Guest", on_delete=models.CASCADE, related_name="spares")
    role = models.CharField(max_length=8, choices=SpareRole.choices)
    image = models.ForeignKey("vms.Image", null=True, on_delete=models.PROTECT, related_name="+")
    size_gib = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint("guest", "role", name="spare_one_a_role")]

    @property
    def capacity(self) -> int:
        """Its size in bytes."""
        return self.size_gib * GIB
