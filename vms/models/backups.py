"""What is kept of machines' disks outside of their pools."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from portal.core.ids import uuid7
from portal.core.sealed import SealedTextField
from tenants.scoping import TenantOwned
from vms.models.backup_schedules import BackupSchedule
from vms.models.flavors import Flavor
from vms.models.guests import Guest
from vms.models.hardware import Hardware
from vms.models.images import Image
from vms.models.volumes import Volume, serial_of
from vms.states import BackupState


class StoreKind(models.TextChoices):
    """How a store is spoken to."""

    FOLDER = "folder", "Folder"
    S3 = "s3", "S3"


class BackupStore(models.Model):
    """A place for backups that is no host's pool; of those that are enabled the oldest takes new tenants' backups."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=40, unique=True)
    kind = models.CharField(max_length=8, choices=StoreKind.choices)
    location = models.CharField(max_length=255)
    """An absolute folder on the worker's machine, or ``https://endpoint/bucket/prefix``."""
    access_key = SealedTextField(blank=True, default="")
    secret_key = SealedTextField(blank=True, default="")
    enabled = models.BooleanField(default=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class BackupRepository(TenantOwned):
    """A tenant's own part of a store, encrypted under a password that nobody else has; bytes repeat only inside of it."""

    store = models.ForeignKey(BackupStore, on_delete=models.PROTECT, related_name="repositories")
    password = SealedTextField()
    made_at = models.DateTimeField(null=True)
    """Since when it is there in the store."""
    size = models.PositiveBigIntegerField(default=0)
    """Bytes that it takes, as last measured."""
    charged_gib = models.PositiveIntegerField(default=0)
    """What of it the tenant's quota counts."""

    class Meta:
        constraints = [models.UniqueConstraint("tenant", name="backup_repository_one_a_tenant")]

    @property
    def name(self) -> str:
        """What operations on it as a whole call it."""
        return self.store.name


class Backup(TenantOwned, Hardware):
    """All disks of a machine as they were at one moment, and what it was built of; whole by itself, however little was read."""

    name = models.CharField(max_length=63)
    firmware = models.CharField(max_length=8, default="bios", db_default="bios")
    repository = models.ForeignKey(BackupRepository, on_delete=models.PROTECT, related_name="backups")
    guest = models.ForeignKey(Guest, null=True, on_delete=models.SET_NULL, related_name="backups")
    """The machine, as long as there is one; ``guest_name`` stays."""
    schedule = models.ForeignKey(BackupSchedule, null=True, on_delete=models.SET_NULL, related_name="backups")
    """What asked for it and may delete it again; none where somebody asked by hand."""
    slot = models.DateTimeField(null=True)
    """The schedule's moment that it is of."""
    guest_name = models.CharField(max_length=63)
    flavor = models.ForeignKey(Flavor, on_delete=models.PROTECT, related_name="+")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=10, default=BackupState.CREATING)
    snapshot = models.CharField(max_length=64, blank=True, default="")
    """Its name in the store, once it is whole."""
    checkpoint = models.CharField(max_length=64, blank=True, default="")
    """From where the host counts what changed after it; empty where it does not."""
    changed_only = models.BooleanField(default=False)
    """Was only read what had changed since a former one?"""
    why_full = models.CharField(max_length=24, blank=True, default="")
    """Why all of it was read: ``first``, ``asked``, ``off``, ``disks``, ``unknown``, ``store``."""
    since_full = models.PositiveIntegerField(default=0, db_default=0)
    """How many in a row, itself the last, were only read what had changed; 0 where all of it was read."""
    frozen = models.BooleanField(default=False)
    """Had the agent stopped the file systems for that moment?"""
    read_bytes = models.PositiveBigIntegerField(default=0)
    added_bytes = models.PositiveBigIntegerField(default=0)
    reserved_gib = models.PositiveIntegerField(default=0)
    """What of it the quota counts while it is made; afterwards its repository counts as a whole."""
    problem = models.TextField(blank=True, default="")
    verified_at = models.DateTimeField(null=True)
    verified = models.BooleanField(default=False)
    """Was it read back whole and sound at ``verified_at``?"""
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["tenant", "-created_at", "-id"], name="backup_by_age")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=[s.value for s in BackupState]), name="backup_state_known"
            ),
            models.UniqueConstraint("schedule", "guest", "slot", name="backup_once_a_slot"),
            models.CheckConstraint(
                condition=~models.Q(state=BackupState.READY) | ~models.Q(snapshot=""), name="backup_ready_is_in_store"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class BackupDisk(TenantOwned):
    """One disk of a backup; in the store its folder is named by ``position``."""

    backup = models.ForeignKey(Backup, on_delete=models.CASCADE, related_name="disks")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=64)
    size_gib = models.PositiveIntegerField()
    volume = models.ForeignKey(Volume, null=True, on_delete=models.SET_NULL, related_name="+")
    """The disk it was read from, as long as there is one."""
    known_as = models.CharField(max_length=20, blank=True, default="", db_default="")
    """That disk's serial; empty of a backup from before serials could move."""

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint("backup", "position", name="backup_disk_once")]

    @property
    def folder(self) -> str:
        """Where it lies in the snapshot."""
        return f"disk{self.position}"

    @property
    def serial(self) -> str:
        """By what the machine's system knew the disk; empty where nobody knows any more."""
        return self.known_as or (serial_of(self.volume_id) if self.volume_id is not None else "")
