"""Sizes a guest can have."""

from __future__ import annotations

from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from portal.core.ids import uuid7


class Flavor(models.Model):
    """A size: vCPUs, memory, disk, and the limits that stand in the live domain; 0 is no limit."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=40, unique=True, validators=[RegexValidator(r"\A[a-z0-9][a-z0-9.-]{0,39}\Z")])
    vcpus = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(255)])
    memory_mib = models.PositiveIntegerField(validators=[MinValueValidator(64), MaxValueValidator(4 * 1024 * 1024)])
    disk_gib = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(64 * 1024)])
    cpu_percent = models.PositiveSmallIntegerField(default=0)
    """Of one vCPU, for each; 100 is a whole core."""
    disk_iops = models.PositiveIntegerField(default=0)
    disk_mbps = models.PositiveIntegerField(default=0)
    """MiB a second, reads and writes together."""
    net_mbit = models.PositiveIntegerField(default=0)
    """Mbit a second, in and out each."""
    labels: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """What a host must have for it, of ``Host.offers``."""
    enabled = models.BooleanField(default=True)
    sort = models.PositiveSmallIntegerField(default=100)
    version = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["sort", "vcpus", "memory_mib", "name"]

    def __str__(self) -> str:
        return self.name
