"""Operators acting in a tenant as one of its people see it."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.timezone import now

from tenants.models.people import User
from tenants.models.roles import Member
from tenants.scoping import TenantOwned


class Visit(TenantOwned):
    """An operator in a tenant's pages: in whose place, why, until when, and whether anything may be changed.

    Bound to the browser session it was begun in. The session stays the operator's own: nobody is signed in as anybody else.
    """

    operator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    member = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")
    reason = models.CharField(max_length=500)
    may_change = models.BooleanField(default=False)
    session = models.CharField(max_length=64)
    started_at = models.DateTimeField(default=now)
    until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint("session", condition=Q(ended_at=None), name="visit_one_a_session"),
            models.CheckConstraint(condition=~Q(reason=""), name="visit_has_a_reason"),
            models.CheckConstraint(condition=Q(until__gt=F("started_at")), name="visit_ends_after_start"),
        ]
