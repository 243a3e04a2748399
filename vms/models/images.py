"""What a guest's first disk is made from."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from portal.core.ids import uuid7
from tenants.scoping import SharedManager
from vms.states import ImageState


class Image(models.Model):
    """A qcow2 file of ours, named only by this row's id: everybody's (no tenant) or one tenant's own."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    state = models.CharField(max_length=12, default=ImageState.IMPORTING)
    problem = models.TextField(blank=True)
    os_family = models.CharField(max_length=24, default="linux")
    os_version = models.CharField(max_length=40, blank=True)
    firmware = models.CharField(max_length=8, default="bios")
    size = models.PositiveBigIntegerField(default=0)
    virtual_size = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    min_memory_mib = models.PositiveIntegerField(default=64)
    default_user = models.CharField(max_length=32, default="root")
    sort = models.PositiveSmallIntegerField(default=100)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    objects = SharedManager()

    class Meta:
        ordering = ["sort", "name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=[s.value for s in ImageState]), name="image_state_known"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def min_disk_gib(self) -> int:
        """The smallest disk it fits on."""
        return -(-self.virtual_size // 1024**3)
