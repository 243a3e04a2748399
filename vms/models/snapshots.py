"""States of disks that can be gone back to."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from tenants.scoping import TenantOwned
from vms.models.volumes import Volume
from vms.states import SnapshotState


class Consistency(models.TextChoices):
    """What the disks hold: a machine that was off, one that had written everything, one with its plug pulled, or all of it."""

    OFF = "off"
    FROZEN = "frozen"
    POWER_CUT = "power_cut"
    MEMORY = "memory"


class Snapshot(TenantOwned):
    """The disks of a machine, or one volume, as they were at one moment; it lies inside their files, under this row's id.

    With ``guest`` it is of all disks that machine had. ``definition`` is the machine as it ran, kept with its memory.
    """

    name = models.CharField(max_length=63)
    description = models.CharField(max_length=255, blank=True)
    guest = models.ForeignKey("vms.Guest", null=True, on_delete=models.PROTECT, related_name="snapshots")
    state = models.CharField(max_length=10, default=SnapshotState.CREATING)
    with_memory = models.BooleanField(default=False)
    consistency = models.CharField(max_length=10, choices=Consistency.choices, blank=True)
    """Empty until it is taken."""
    vcpus = models.PositiveSmallIntegerField(default=0)
    memory_mib = models.PositiveIntegerField(default=0)
    """The machine's size then; memory comes back only into a machine of that size."""
    definition = models.TextField(blank=True)
    passing = models.BooleanField(default=False, db_default=False)
    """Taken to copy from, and deleted once nobody does."""
    problem = models.TextField(blank=True)
    taken_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["tenant", "-created_at", "-id"], name="snapshot_by_age")]
        constraints = [
            models.UniqueConstraint("guest", "name", condition=~Q(guest=None), name="snapshot_name_once_a_guest"),
            models.CheckConstraint(
                condition=Q(state__in=[s.value for s in SnapshotState]), name="snapshot_state_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class SnapshotDisk(TenantOwned):
    """One disk that a snapshot holds, as large as it was, at the place it had."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="disks")
    volume = models.ForeignKey(Volume, on_delete=models.PROTECT, related_name="kept_in")
    position = models.PositiveSmallIntegerField(default=0)
    size_gib = models.PositiveIntegerField()

    class Meta:
        ordering = ["snapshot", "position"]
        constraints = [models.UniqueConstraint("snapshot", "volume", name="snapshot_disk_once")]
