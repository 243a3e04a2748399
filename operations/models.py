"""What was asked, how far it got, and what it holds meanwhile."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from operations.states import LIVE, TERMINAL, Status
from portal.core.ids import uuid7


class Operation(models.Model):
    """One piece of long work; this row is the truth, a Celery message only a nudge to look at it.

    ``tenant`` is empty for work on shared things (a host's probe). ``lane`` names the host it runs on, so that a hung host
    delays only its own. ``lease_owner`` and ``lease_until`` say which worker has it; a lapsed lease returns it to the queue.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", null=True, on_delete=models.PROTECT, related_name="+")
    parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="children")
    kind = models.CharField(max_length=40)
    subject_type = models.CharField(max_length=32)
    subject_id = models.UUIDField(db_index=True)
    subject_name = models.CharField(max_length=120)
    params: models.JSONField[Any, Any] = models.JSONField(default=dict)
    params_version = models.PositiveSmallIntegerField(default=1)
    generation = models.PositiveIntegerField(default=0)
    lane = models.CharField(max_length=40, blank=True)
    long = models.BooleanField(default=False, db_default=False)
    """Few of these run at once (``operations/services/lanes.py``)."""

    status = models.CharField(max_length=10, default=Status.QUEUED)
    progress = models.PositiveSmallIntegerField(default=0)
    step = models.CharField(max_length=120, blank=True)
    steps: models.JSONField[Any, Any] = models.JSONField(default=list)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.TextField(blank=True)
    error_hint = models.TextField(blank=True)
    error_detail = models.TextField(blank=True)
    """For operators only: what the host really said."""

    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    requested_label = models.CharField(max_length=254, blank=True)
    requested_via = models.CharField(max_length=16, blank=True)
    request_id = models.CharField(max_length=40, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    not_before = models.DateTimeField(default=timezone.now)
    deadline_at = models.DateTimeField()
    lease_owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    goes_through = models.BooleanField(default=False, db_default=False)
    """Has it done what is not undone? Then nobody calls it off any more."""
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["not_before"], condition=Q(status__in=sorted(s.value for s in LIVE)), name="operation_live"
            ),
            models.Index(fields=["tenant", "-created_at", "-id"], name="operation_of_tenant"),
            models.Index(fields=["lane"], condition=Q(status="running"), name="operation_in_lane"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(progress__lte=100), name="operation_progress_percent"),
            models.CheckConstraint(
                condition=Q(status__in=sorted(s.value for s in LIVE), finished_at=None)
                | Q(status__in=sorted(s.value for s in TERMINAL), finished_at__isnull=False),
                name="operation_finished_when_terminal",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_name}"

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def name(self) -> str:
        """How the audit log calls it."""
        return f"{self.kind} {self.subject_name}"


class OperationLock(models.Model):
    """A thing that a live operation holds; exclusive ones once, shared ones many times."""

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="locks")
    resource_type = models.CharField(max_length=32)
    resource_id = models.UUIDField()
    exclusive = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint("operation", "resource_type", "resource_id", name="operation_lock_once"),
            models.UniqueConstraint(
                "resource_type", "resource_id", condition=Q(exclusive=True), name="operation_lock_exclusive"
            ),
        ]


class Lane(models.Model):
    """How many operations may run on one host at once, and until when none may start after one overran."""

    key = models.CharField(max_length=40, primary_key=True)
    width = models.PositiveSmallIntegerField(default=4)
    closed_until = models.DateTimeField(null=True)
    overruns = models.PositiveIntegerField(default=0)
