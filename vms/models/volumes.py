"""Where bytes are kept, and the disks made of them."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from portal.core.ids import uuid7
from tenants.scoping import TenantOwned
from vms.models.hosts import Host
from vms.states import VolumeState


class StorageClass(models.Model):
    """A promise about disks that a tenant can choose and be billed for."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=40, unique=True)
    is_default = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name


class StoragePool(models.Model):
    """A directory on a host that holds our volumes; figures are bytes as last reported."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="storage_pools")
    storage_class = models.ForeignKey(StorageClass, on_delete=models.PROTECT, related_name="pools")
    kind = models.CharField(max_length=12, default="dir")
    name = models.CharField(max_length=64)
    path = models.CharField(max_length=255)
    capacity = models.PositiveBigIntegerField(default=0)
    allocation = models.PositiveBigIntegerField(default=0)
    available = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint("host", "name", name="storage_pool_once_a_host")]

    def __str__(self) -> str:
        return f"{self.name} on {self.host}"


class Volume(TenantOwned):
    """A disk; on the pool it is named by this row's id and nothing else."""

    name = models.CharField(max_length=64)
    guest = models.ForeignKey("vms.Guest", null=True, on_delete=models.PROTECT, related_name="volumes")
    position = models.PositiveSmallIntegerField(default=0)
    image = models.ForeignKey("vms.Image", null=True, on_delete=models.PROTECT, related_name="+")
    storage_class = models.ForeignKey(StorageClass, on_delete=models.PROTECT, related_name="+")
    pool = models.ForeignKey(StoragePool, null=True, on_delete=models.PROTECT, related_name="volumes")
    size_gib = models.PositiveIntegerField()
    state = models.CharField(max_length=10, default=VolumeState.PLANNED)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["guest", "position"]
        constraints = [
            models.UniqueConstraint("guest", "position", name="volume_position_once"),
            models.CheckConstraint(
                condition=models.Q(state__in=[s.value for s in VolumeState]), name="volume_state_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name
