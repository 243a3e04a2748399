"""What a guest's first disk is made from, where it lies on hosts, and what is just being brought."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from portal.core.ids import uuid7
from portal.core.units import GIB
from tenants.scoping import LentManager, TenantOwned
from vms.models.hardware import Hardware
from vms.models.hosts import Host
from vms.states import ImageKind, ImageState, Init


class Image(Hardware):
    """A qcow2 file of ours, named only by this row's id: everybody's (no tenant), or one tenant's own, which may share it.

    Its bytes never change once it is ready: disks on hosts stand on copies of them. Other content is another image.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    shared = models.BooleanField(default=False, db_default=False)
    """May the projects below its tenant make machines of it?"""
    kind = models.CharField(max_length=8, default=ImageKind.DISK, db_default=ImageKind.DISK.value)
    state = models.CharField(max_length=12, default=ImageState.IMPORTING)
    problem = models.TextField(blank=True)
    os_family = models.CharField(max_length=24, default="linux")
    os_version = models.CharField(max_length=40, blank=True)
    init = models.CharField(max_length=16, default=Init.CLOUD_INIT, db_default=Init.CLOUD_INIT.value)
    size = models.PositiveBigIntegerField(default=0)
    virtual_size = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    charged_gib = models.PositiveIntegerField(default=0, db_default=0)
    least_disk_gib = models.PositiveIntegerField(default=0, db_default=0)
    min_memory_mib = models.PositiveIntegerField(default=64)
    default_user = models.CharField(max_length=32, default="root")
    verdict = models.CharField(max_length=10, blank=True, default="", db_default="")
    """How its last test boot ended (``Verdict``); empty before the first."""
    origin = models.CharField(max_length=40, blank=True, default="", db_default="")
    """Its key in the catalogue of well-known images, if it came from there; ``origin_sum`` is what its maker said of the file."""
    origin_sum = models.CharField(max_length=128, blank=True, default="", db_default="")
    replacement = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    sort = models.PositiveSmallIntegerField(default=100)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    objects = LentManager()

    class Meta:
        ordering = ["sort", "name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=[s.value for s in ImageState]), name="image_state_known"
            ),
            models.CheckConstraint(condition=models.Q(kind__in=[k.value for k in ImageKind]), name="image_kind_known"),
            models.UniqueConstraint(
                "origin",
                condition=models.Q(state=ImageState.IMPORTING.value) & ~models.Q(origin=""),
                name="image_origin_comes_once",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_windows(self) -> bool:
        """Does what is on it expect what Windows expects: local time, a CD to be set up from, drivers on another?"""
        return self.os_family == "windows"

    @property
    def min_disk_gib(self) -> int:
        """The smallest disk it fits on, or the larger one that whoever brought it asks for; of a CD only the latter."""
        if self.kind != ImageKind.DISK:
            return self.least_disk_gib
        return max(self.least_disk_gib, -(-self.virtual_size // GIB))


class ImageCopy(models.Model):
    """An image's file in a host's pool; disks may stand on it from ``ready_at`` until it is being removed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="copies")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="image_copies")
    name = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(default=0)
    ready_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["host", "name"]
        constraints = [models.UniqueConstraint("host", "name", name="image_copy_once_a_host")]

    def __str__(self) -> str:
        return f"{self.image} on {self.host}"


class ImageUpload(TenantOwned):
    """An image's bytes on their way in: how many there are to be, and how many have come; sizes in bytes."""

    image = models.OneToOneField(Image, on_delete=models.PROTECT, related_name="upload")
    size = models.PositiveBigIntegerField()
    received = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    format = models.CharField(max_length=8)
    created_at = models.DateTimeField(default=timezone.now)
    touched_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(received__lte=models.F("size")), name="upload_received_at_most")
        ]

    def __str__(self) -> str:
        return f"{self.received} of {self.size} bytes"
