"""Files that people made of disks, to take with them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from tenants.scoping import TenantOwned
from vms.models.guests import Guest
from vms.models.volumes import Volume
from vms.states import ExportState


class DiskExport(TenantOwned):
    """One disk as it was at one moment, as a qcow2 file that stands by itself and waits to be fetched until ``expires_at``."""

    name = models.CharField(max_length=63)
    """What the disk was called; the file that people get is named after it."""
    volume = models.ForeignKey(Volume, null=True, on_delete=models.SET_NULL, related_name="+")
    guest = models.ForeignKey(Guest, null=True, on_delete=models.SET_NULL, related_name="+")
    """The machine that had the disk when this was asked for, as long as there is one; ``guest_name`` stays."""
    guest_name = models.CharField(max_length=63, blank=True)
    position = models.PositiveSmallIntegerField(default=0)
    size_gib = models.PositiveIntegerField()
    """How large the disk is; the file is as large as what is on it, packed."""
    state = models.CharField(max_length=8, default=ExportState.MAKING)
    problem = models.TextField(blank=True)
    size = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    """Of the bytes as they are given out."""
    made_by = models.CharField(max_length=254)
    expires_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    """Since when there is no file, and there will be none."""
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["tenant", "-created_at", "-id"], name="disk_export_by_age")]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=[s.value for s in ExportState]), name="disk_export_state_known"
            ),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=False) | ~Q(state=ExportState.READY.value), name="disk_export_expires"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def file_name(self) -> str:
        """What the file is called where it is saved: of small letters, digits and hyphens, as names of machines and disks are."""
        return f"{self.guest_name}-{self.name}.qcow2" if self.guest_name else f"{self.name}.qcow2"
