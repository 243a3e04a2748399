"""Who belongs to a tenant, as what, and who has been asked to."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.timezone import now

from portal.core.ids import uuid7
from tenants.models.people import User
from tenants.models.tenants import Tenant
from tenants.scoping import SharedManager, TenantOwned


class Role(models.Model):
    """A named set of permissions: built in (no tenant) or a tenant's own.

    ``permissions`` hold everywhere in the tenant; those of ``tagged`` only on machines that wear one of ``tags``.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=40)
    permissions = models.JSONField(default=list)
    tagged = models.JSONField(default=list, blank=True)
    tags = models.JSONField(default=list, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=now)

    objects = SharedManager()

    class Meta:
        constraints = [
            models.UniqueConstraint("tenant", "name", name="role_name_once_a_tenant"),
            models.UniqueConstraint("name", condition=Q(tenant=None), name="role_built_in_once"),
        ]

    def __str__(self) -> str:
        return self.name


class Member(TenantOwned):
    """A person in a tenant, with one role."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="+")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=now)

    class Meta:
        constraints = [models.UniqueConstraint("tenant", "user", name="member_once_a_tenant")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.tenant_id}"


class Invitation(TenantOwned):
    """An address asked to join with one role; whoever has the letter's link may accept or decline, once, until it ends.

    Only the SHA-256 of the link's secret is kept; sending again makes a new secret and kills the old.
    """

    email = models.EmailField()
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="+")
    digest = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    sent_with = models.ForeignKey("tenants.ApiToken", null=True, on_delete=models.CASCADE, related_name="+")
    """The token that asked for it; dead or weaker, it vouches for nobody any more."""
    created_at = models.DateTimeField(default=now)
    sent_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    accepted_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    revoked_at = models.DateTimeField(null=True)
    """When it was ended, by whoever sent it or whoever it was sent to."""
    declined = models.BooleanField(default=False, db_default=False)
    """It was the invited one who ended it."""
    version = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "tenant",
                Lower("email"),
                condition=Q(accepted_at=None, revoked_at=None),
                name="invitation_open_once_an_address",
            ),
            models.CheckConstraint(condition=Q(accepted_at=None) | Q(revoked_at=None), name="invitation_one_end"),
            models.CheckConstraint(
                condition=Q(declined=False) | Q(revoked_at__isnull=False), name="invitation_declined_is_over"
            ),
        ]

    def __str__(self) -> str:
        return self.email
