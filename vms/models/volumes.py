"""Where bytes are kept, and the disks made of them."""

from __future__ import annotations

import string
from typing import Any
from uuid import UUID

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from portal.core.ids import uuid7
from tenants.scoping import TenantOwned
from vms.models.hardware import DiskBus
from vms.models.hosts import Host
from vms.states import VolumeState


def serial_of(pk: UUID) -> str:
    """The serial that a volume has from the start."""
    return pk.hex[:20]


class Scrub(models.TextChoices):
    """What is done to a volume's bytes before it is deleted: nothing, or zeros over all of its file."""

    NONE = "none"
    ZERO = "zero"


class Media(models.TextChoices):
    """What disks of a class are made of, as operators say; empty is not said."""

    NONE = ""
    HDD = "hdd"
    SSD = "ssd"
    NVME = "nvme"


class StorageClass(models.Model):
    """A promise about disks that a tenant can choose and be billed for; quotas and bills know it by its name."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=40, unique=True, validators=[RegexValidator(r"\A[a-z0-9][a-z0-9.-]{0,39}\Z")])
    media = models.CharField(max_length=4, choices=Media.choices, blank=True, default="", db_default="")
    enabled = models.BooleanField(default=True, db_default=True)
    """Offered for new volumes?"""
    is_default = models.BooleanField(default=False)
    scrub = models.CharField(max_length=4, choices=Scrub.choices, default=Scrub.NONE, db_default=Scrub.NONE)
    """What happens to the bytes of a volume before its file goes."""
    iops = models.PositiveIntegerField(default=0, db_default=0)
    """The most that one volume of it may be given; 0 is no bound. ``mbps`` likewise, in MiB a second."""
    mbps = models.PositiveIntegerField(default=0, db_default=0)
    version = models.PositiveIntegerField(default=1, db_default=1)

    class Meta:
        constraints = [
            models.UniqueConstraint("is_default", condition=models.Q(is_default=True), name="storage_class_one_default")
        ]

    def __str__(self) -> str:
        return self.name


class PoolKind(models.TextChoices):
    """What a storage pool is, and so how a disk in it is made and named to its machine."""

    DIR = "dir", _("Directory")
    SHARED = "shared", _("Directory that hosts share")
    NFS = "nfs", _("NFS export")
    LVM = "lvm", _("Volume group (LVM)")
    RBD = "rbd", _("Ceph pool")


class StoragePool(models.Model):
    """Somewhere on a host that holds our volumes; figures are bytes as last reported.

    Rows of several hosts with the same ``share`` are the same storage.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="storage_pools")
    storage_class = models.ForeignKey(StorageClass, on_delete=models.PROTECT, related_name="pools")
    kind = models.CharField(max_length=12, choices=PoolKind.choices, default=PoolKind.DIR)
    name = models.CharField(max_length=64)
    path = models.CharField(max_length=255, blank=True)
    share = models.CharField(max_length=31, blank=True, default="", db_default="")
    source = models.CharField(max_length=255, blank=True, default="", db_default="")
    """What an NFS server exports, a volume group, or a Ceph pool; ``servers`` are NFS's one or Ceph's monitors."""
    servers: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    account = models.CharField(max_length=63, blank=True, default="", db_default="")
    """Who the host is to Ceph; ``secret`` is the uuid of what libvirt keeps there: the key itself is not ours."""
    secret = models.CharField(max_length=36, blank=True, default="", db_default="")
    enabled = models.BooleanField(default=True, db_default=True)
    """Are new volumes put there?"""
    ready_at = models.DateTimeField(null=True)
    problem = models.TextField(blank=True, default="", db_default="")
    version = models.PositiveIntegerField(default=1, db_default=1)
    capacity = models.PositiveBigIntegerField(default=0)
    allocation = models.PositiveBigIntegerField(default=0)
    available = models.PositiveBigIntegerField(default=0)
    written = models.PositiveBigIntegerField(default=0, db_default=0)
    """What our volumes there take, images' copies and logs among them."""

    class Meta:
        constraints = [models.UniqueConstraint("host", "name", name="storage_pool_once_a_host")]

    def __str__(self) -> str:
        return f"{self.name} on {self.host}"


class Volume(TenantOwned):
    """A disk; on the pool it is named by this row's id and nothing else.

    With ``guest`` it is attached, or being attached, or not yet seen to be let go; ``position`` is its place among that
    guest's disks (0 is the first disk, which the guest was made with and goes with), and so its device.
    """

    name = models.CharField(max_length=64)
    guest = models.ForeignKey("vms.Guest", null=True, on_delete=models.PROTECT, related_name="volumes")
    position = models.PositiveSmallIntegerField(default=0)
    delete_with_guest = models.BooleanField(default=False, db_default=False)
    """A data volume: is it deleted with its guest, or let go and kept?"""
    boot_order = models.PositiveSmallIntegerField(default=0, db_default=0)
    """From which disk the machine boots first, counted from 1; 0 takes no part."""
    iops = models.PositiveIntegerField(default=0, db_default=0)
    """Its own limits below what the size of its guest and its class allow; 0 is none. ``mbps`` in MiB a second."""
    mbps = models.PositiveIntegerField(default=0, db_default=0)
    image = models.ForeignKey("vms.Image", null=True, on_delete=models.PROTECT, related_name="+")
    source = models.ForeignKey("vms.BackupDisk", null=True, on_delete=models.SET_NULL, related_name="+")
    """The disk of a backup that it is made of."""
    snapshot_disk = models.ForeignKey("vms.SnapshotDisk", null=True, on_delete=models.SET_NULL, related_name="+")
    """The disk of a snapshot that it is made of."""
    known_as = models.CharField(max_length=20, blank=True, default="", db_default="")
    """The serial that it took over from the disk whose place it took, or gave its own for; empty is its own."""
    storage_class = models.ForeignKey(StorageClass, on_delete=models.PROTECT, related_name="+")
    pool = models.ForeignKey(StoragePool, null=True, on_delete=models.PROTECT, related_name="volumes")
    size_gib = models.PositiveIntegerField()
    state = models.CharField(max_length=10, default=VolumeState.PLANNED)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["guest", "position"]
        indexes = [
            models.Index(fields=["tenant", "name", "id"], name="volume_by_name"),
            models.Index(fields=["tenant", "-created_at", "-id"], name="volume_by_age"),
        ]
        constraints = [
            models.UniqueConstraint("guest", "position", name="volume_position_once"),
            models.CheckConstraint(
                condition=models.Q(state__in=[s.value for s in VolumeState]), name="volume_state_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_root(self) -> bool:
        """Is it the disk that its guest was made with?"""
        return self.guest_id is not None and self.position == 0

    @property
    def goes_with_guest(self) -> bool:
        """Is it deleted when its guest is gone for good?"""
        return self.is_root or self.delete_with_guest

    @property
    def device(self) -> str:
        """Which device it is to its guest; the first disk hangs on the bus that the guest's system knows."""
        if self.position == 0 and self.guest is not None and self.guest.disk_bus != DiskBus.VIRTIO:
            return "sda"
        return f"vd{string.ascii_lowercase[self.position]}"

    @property
    def serial(self) -> str:
        """How the guest's system finds it by itself, wherever it is plugged in: QEMU shows 20 characters at most."""
        return self.known_as or serial_of(self.pk)
