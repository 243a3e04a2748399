"""When machines are switched by themselves."""

from __future__ import annotations

from django.db import models
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from tenants.scoping import TenantOwned


class SwitchAction(models.TextChoices):
    """What a schedule does to its machine: names of ``vms.services.guests.power.ACTIONS``."""

    START = "start", _("Start")
    SHUTDOWN = "shutdown", _("Shut down")
    STOP = "stop", _("Stop (pull the plug)")
    REBOOT = "reboot", _("Restart")


class PowerSchedule(TenantOwned):
    """A machine is switched at every moment of a cron line, as the clocks of ``timezone`` show it."""

    guest = models.ForeignKey("vms.Guest", on_delete=models.CASCADE, related_name="power_schedules")
    action = models.CharField(max_length=8, choices=SwitchAction)
    cron = models.CharField(max_length=100)
    """Five fields: minute, hour, day of the month, month, day of the week."""
    timezone = models.CharField(max_length=64)
    enabled = models.BooleanField(default=True)
    next_at = models.DateTimeField(null=True, db_index=True)
    """When it is due next; None while it is off."""
    last_at = models.DateTimeField(null=True)
    """When it was due last."""
    last_code = models.CharField(max_length=40, blank=True)
    """Why nothing was asked of the machine then; empty where something was."""
    last_operation = models.UUIDField(null=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=now)

    class Meta:
        ordering = ["created_at", "pk"]
        constraints = [
            models.UniqueConstraint("guest", "action", "cron", "timezone", name="power_schedule_once"),
            models.CheckConstraint(
                condition=models.Q(enabled=True) | models.Q(next_at=None), name="power_schedule_off_is_never_due"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.cron}"
