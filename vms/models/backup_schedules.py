"""When machines are backed up by themselves, and how many of those backups stay."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from tenants.scoping import TenantOwned
from vms.models.guests import Guest
from vms.states import TurnState


class Every(models.TextChoices):
    """How a schedule's moments were named."""

    HOURLY = "hourly", _("Every hour")
    DAILY = "daily", _("Every day")
    WEEKLY = "weekly", _("Every Sunday")
    MONTHLY = "monthly", _("On the first of every month")
    CRON = "cron", _("By a cron line")


class BackupSchedule(TenantOwned):
    """Chosen machines, and all that wear one of its tags, are backed up at every moment of a cron line."""

    name = models.CharField(max_length=63)
    every = models.CharField(max_length=8, choices=Every)
    cron = models.CharField(max_length=100)
    """Five fields: minute, hour, day of the month, month, day of the week; written by the portal unless ``every`` is cron."""
    timezone = models.CharField(max_length=64)
    window_minutes = models.PositiveSmallIntegerField(default=0)
    """Over how long after each moment its machines begin, each always at the same place in it."""
    full_every = models.PositiveSmallIntegerField(default=0)
    """All of a machine's disks are read for one of so many backups at least; 0: whenever what changed is not known."""
    keep_last = models.PositiveSmallIntegerField(default=0)
    keep_hourly = models.PositiveSmallIntegerField(default=0)
    keep_daily = models.PositiveSmallIntegerField(default=0)
    keep_weekly = models.PositiveSmallIntegerField(default=0)
    keep_monthly = models.PositiveSmallIntegerField(default=0)
    guests: models.ManyToManyField[Guest, Any] = models.ManyToManyField(Guest, related_name="backup_schedules")
    tags = models.JSONField(default=list)
    """Names; a tag that no machine wears is no row anywhere."""
    enabled = models.BooleanField(default=True)
    next_at = models.DateTimeField(null=True, db_index=True)
    """Its next moment; None while it is off."""
    last_at = models.DateTimeField(null=True)
    """The moment that was last begun."""
    failing = models.BooleanField(default=False)
    """Were people told that it does not do what it should? They hear of it again only after a moment without a failure."""
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=now)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint("tenant", "name", name="backup_schedule_name_once"),
            models.CheckConstraint(
                condition=models.Q(enabled=True) | models.Q(next_at=None), name="backup_schedule_off_is_never_due"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class BackupTurn(TenantOwned):
    """One machine's backup at one moment of a schedule: when it begins, and what came of it."""

    schedule = models.ForeignKey(BackupSchedule, on_delete=models.CASCADE, related_name="turns")
    guest = models.ForeignKey(Guest, on_delete=models.CASCADE, related_name="+")
    slot = models.DateTimeField()
    """The schedule's moment."""
    due_at = models.DateTimeField()
    """When the machine begins, or is asked again."""
    waits_until = models.DateTimeField(null=True)
    """So long it is asked again while something else comes first; None while it was not put off."""
    state = models.CharField(max_length=8, default=TurnState.WAITING)
    code = models.CharField(max_length=40, blank=True, default="")
    """Why it waits still, was passed over or failed."""

    class Meta:
        ordering = ["-slot", "pk"]
        indexes = [models.Index(fields=["state", "due_at"], name="backup_turn_due")]
        constraints = [
            models.UniqueConstraint("schedule", "guest", "slot", name="backup_turn_once"),
            models.CheckConstraint(
                condition=models.Q(state__in=[s.value for s in TurnState]), name="backup_turn_state_known"
            ),
        ]
