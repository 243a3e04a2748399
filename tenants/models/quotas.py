"""How much a tenant may use, what is kept aside, and what it has asked for."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from portal.core.ids import uuid7
from tenants.models.people import User
from tenants.models.tenants import Tenant
from tenants.scoping import TenantOwned


class Quota(models.Model):
    """How much of one resource a tenant (its children included) may use, and uses; no limit is None.

    Above ``soft_limit`` a tenant is warned, and after a grace the soft limit is the hard one; ``soft_since`` is when it went
    above. A grant raises the limit until ``grant_until`` and ends by itself. Not tenant-owned: a child's reservation locks
    its ancestors' rows. ``tenants.services.quota`` is its only writer.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    resource = models.CharField(max_length=64)
    limit = models.PositiveBigIntegerField(null=True, blank=True)
    soft_limit = models.PositiveBigIntegerField(null=True, blank=True)
    soft_since = models.DateTimeField(null=True, blank=True)
    grant_limit = models.PositiveBigIntegerField(null=True, blank=True)
    grant_until = models.DateTimeField(null=True, blank=True)
    used = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint("tenant", "resource", name="quota_once_a_resource"),
            models.CheckConstraint(condition=Q(used__gte=0), name="quota_used_not_negative"),
            models.CheckConstraint(
                condition=Q(soft_limit=None) | Q(limit=None) | Q(soft_limit__lte=F("limit")),
                name="quota_soft_below_hard",
            ),
            models.CheckConstraint(
                condition=Q(grant_limit=None, grant_until=None)
                | Q(grant_limit__isnull=False, grant_until__isnull=False),
                name="quota_grant_has_an_end",
            ),
        ]


class QuotaHold(models.Model):
    """Quota kept aside by an operation until it is settled; ``holder`` is the operation's id."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    resource = models.CharField(max_length=64)
    amount = models.PositiveBigIntegerField()
    holder = models.UUIDField()

    class Meta:
        constraints = [models.UniqueConstraint("holder", "tenant", "resource", name="quota_hold_once")]


class RateUse(models.Model):
    """So much of a rate ("10 creates a day") was used at one moment; counted under the lock of its quota row."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    resource = models.CharField(max_length=64)
    amount = models.PositiveIntegerField()
    at = models.DateTimeField(default=now)

    class Meta:
        indexes = [models.Index(fields=["tenant", "resource", "at"], name="rate_use_by_time")]


class RequestState(models.TextChoices):
    """How a wish for more quota stands."""

    PENDING = "pending", _("Waiting")
    APPROVED = "approved", _("Approved")
    GRANTED = "granted", _("Granted until a date")
    DECLINED = "declined", _("Declined")
    WITHDRAWN = "withdrawn", _("Withdrawn")


class QuotaRequest(TenantOwned):
    """A wish for other limits, with its reason; an operator decides."""

    wanted: models.JSONField[Any, Any] = models.JSONField()
    """Limits by resource."""
    wanted_until = models.DateTimeField(null=True)
    """Until when they are wanted; None is for good."""
    given: models.JSONField[Any, Any] = models.JSONField(null=True)
    """What an operator gave of it: limits by resource."""
    reason = models.CharField(max_length=1000)
    state = models.CharField(max_length=10, choices=RequestState, default=RequestState.PENDING)
    asked_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    decided_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True)
    answer = models.CharField(max_length=1000, blank=True)
    until = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=now)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=RequestState.values), name="quota_request_state_known"),
            models.CheckConstraint(
                condition=Q(state=RequestState.GRANTED, until__isnull=False)
                | (~Q(state=RequestState.GRANTED) & Q(until=None)),
                name="quota_request_grant_has_an_end",
            ),
        ]

    def __str__(self) -> str:
        return self.reason[:60]
