"""What every service writes down in its own transaction: who did what, what changed, what is in use."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from portal.core.ids import uuid7
from tenants.scoping import TenantOwned


class Chain(models.Model):
    """Where an audit log stands: its newest number and hash, and the last entry that its retention let go.

    An entry up to ``audit_floor`` may be deleted, no other (a trigger in the database); what is left is checked from there.
    """

    audit_seq = models.PositiveBigIntegerField(default=0)
    audit_hash = models.CharField(max_length=64, default="0" * 64)
    audit_floor = models.PositiveBigIntegerField(default=0)
    audit_floor_hash = models.CharField(max_length=64, default="0" * 64)

    class Meta:
        abstract = True


class Journal(Chain):
    """One row a tenant, locked while its journal is written, so that numbers rise in commit order."""

    tenant = models.OneToOneField("tenants.Tenant", on_delete=models.PROTECT, primary_key=True, related_name="+")
    event_seq = models.PositiveBigIntegerField(default=0)

    class Meta:
        app_label = "tenants"


class InstallationJournal(Chain):
    """The one row of what operators change outside any tenant."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)

    class Meta:
        app_label = "tenants"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="installation_journal_is_one")]


class Event(TenantOwned):
    """Something a page may show has changed: which thing, not how it looks now."""

    seq = models.PositiveBigIntegerField()
    type = models.CharField(max_length=40)
    resource_type = models.CharField(max_length=32)
    resource_id = models.CharField(max_length=40)
    at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        app_label = "tenants"
        constraints = [models.UniqueConstraint("tenant", "seq", name="event_seq_once_a_tenant")]


class Deed(models.Model):
    """One change, by whom, through what; chained to the one before it by hash, never changed afterwards."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    seq = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    actor_label = models.CharField(max_length=254)
    via = models.CharField(max_length=16)
    address = models.CharField(max_length=45, blank=True)
    request_id = models.CharField(max_length=40, blank=True)
    action = models.CharField(max_length=48)
    subject_type = models.CharField(max_length=32, blank=True)
    subject_id = models.CharField(max_length=40, blank=True)
    subject_name = models.CharField(max_length=120, blank=True)
    changes: models.JSONField[Any, Any] = models.JSONField(default=dict)
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        abstract = True


class AuditEntry(Deed, TenantOwned):
    """A change in one tenant."""

    class Meta:
        app_label = "tenants"
        constraints = [models.UniqueConstraint("tenant", "seq", name="audit_seq_once_a_tenant")]
        indexes = [models.Index(fields=["tenant", "at"], name="audit_by_time")]


class InstallationEntry(Deed):
    """A change outside any tenant: hosts, flavors, images, people, operators."""

    class Meta:
        app_label = "tenants"
        constraints = [models.UniqueConstraint("seq", name="installation_seq_once")]


class UsageInterval(TenantOwned):
    """From when to when one resource used how much of one meter; the open one has no end.

    Of one resource and meter no two overlap, moments are whole seconds, and nothing but the end of an open one is ever
    written a second time: the database refuses it (migration 0021). ``late_at`` is when a beginning or an end was written
    down, where that was more than ``LATE`` after it was so.
    """

    resource_type = models.CharField(max_length=32)
    resource_id = models.UUIDField()
    meter = models.CharField(max_length=40)
    quantity = models.PositiveBigIntegerField()
    attributes: models.JSONField[Any, Any] = models.JSONField(default=dict)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    late_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "tenants"
        indexes = [
            models.Index(fields=["resource_id", "meter", "started_at"], name="usage_of_resource"),
            models.Index(fields=["ended_at"], name="usage_by_end"),
            models.Index(fields=["late_at"], condition=models.Q(late_at__isnull=False), name="usage_late"),
        ]
        constraints = [
            models.UniqueConstraint(
                "resource_id", "meter", condition=models.Q(ended_at=None), name="usage_one_open_interval"
            ),
            models.CheckConstraint(
                condition=models.Q(ended_at=None) | models.Q(ended_at__gte=models.F("started_at")),
                name="usage_ends_after_start",
            ),
        ]
