"""Bearer tokens."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils.timezone import now

from portal.core.ids import uuid7
from tenants.models.people import User
from tenants.models.roles import Role
from tenants.models.tenants import Tenant


class ApiToken(models.Model):
    """A bearer token; only its SHA-256 is kept.

    Personal: of ``user``, for one tenant or (operators, own account) for none; never more than the person may now.
    Service: of the tenant itself, with ``role``, whoever comes or goes; never more than the role allows now.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    role = models.ForeignKey(Role, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    made_with = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    """The token that made it, and whose end is its own."""
    name = models.CharField(max_length=64)
    prefix = models.CharField(max_length=12, db_index=True)
    digest = models.CharField(max_length=64, unique=True)
    old_prefix = models.CharField(max_length=12, blank=True, db_index=True)
    old_digest = models.CharField(max_length=64, null=True, blank=True, unique=True)
    old_until = models.DateTimeField(null=True, blank=True)
    """After a rotation the old secret works until then."""
    permissions = models.JSONField(null=True, blank=True)
    """None: whatever its owner may; else the intersection with this list."""
    tags = models.JSONField(default=list, blank=True)
    """What acts on one machine bites only on those that wear one of them; empty: on every machine."""
    networks = models.JSONField(default=list, blank=True)
    """CIDRs that it may be used from; empty: from anywhere."""
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_address = models.CharField(max_length=45, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, role=None) | Q(user=None, role__isnull=False, tenant__isnull=False),
                name="token_personal_or_service",
            ),
            models.CheckConstraint(
                condition=Q(old_digest=None, old_until=None) | Q(old_digest__isnull=False, old_until__isnull=False),
                name="token_old_secret_has_an_end",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…"

    def is_alive(self, at: datetime) -> bool:
        """Does its text open anything at that moment?"""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > at)
