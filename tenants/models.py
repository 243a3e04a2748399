"""Tenants, people, roles, tokens and quotas."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from portal.core.ids import uuid7
from tenants.journal.models import AuditEntry, Event, Journal, UsageInterval
from tenants.scoping import SharedManager, TenantOwned

__all__ = [
    "ApiToken",
    "AuditEntry",
    "Event",
    "IdempotentAnswer",
    "Journal",
    "Member",
    "Quota",
    "QuotaHold",
    "Role",
    "Tenant",
    "UsageInterval",
    "User",
]

SLUG = RegexValidator(r"\A[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z", _("Use small letters, digits and hyphens."))


class UserManager(BaseUserManager["User"]):
    """Makes people; an e-mail address is one person, whatever its capitals."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username)


class User(AbstractBaseUser, PermissionsMixin):
    """A person who can sign in; ``is_staff`` makes an operator of the whole installation."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(_("e-mail"), unique=True)
    name = models.CharField(_("name"), max_length=100, blank=True)
    timezone = models.CharField(_("time zone"), max_length=64, default="UTC")
    language = models.CharField(max_length=16, default="en")
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(_("operator"), default=False)
    date_joined = models.DateTimeField(default=now)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_one_person")]

    def __str__(self) -> str:
        return self.email

    @property
    def label(self) -> str:
        """The name to show: what they call themselves, else the address."""
        return self.name or self.email


class TenantState(models.TextChoices):
    """Where a tenant stands in its life."""

    ACTIVE = "active", _("Active")
    SUSPENDED = "suspended", _("Suspended")
    CLOSED = "closed", _("Closed")


class Tenant(models.Model):
    """A customer: owns guests, has members and a quota; may be the child of a reseller."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(max_length=40, unique=True, validators=[SLUG])
    name = models.CharField(max_length=100)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    state = models.CharField(max_length=12, choices=TenantState, default=TenantState.ACTIVE)
    timezone = models.CharField(max_length=64, default="UTC")
    language = models.CharField(max_length=16, default="en")
    bin_days = models.PositiveSmallIntegerField(default=7)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=now)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=TenantState.values), name="tenant_state_known")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_active(self) -> bool:
        """May anything be changed in it?"""
        return self.state == TenantState.ACTIVE


class Role(models.Model):
    """A named set of permissions: built in (no tenant) or a tenant's own; ``tags`` narrow it to machines that wear one."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=40)
    permissions = models.JSONField(default=list)
    tags = models.JSONField(default=list, blank=True)

    objects = SharedManager()

    class Meta:
        constraints = [
            models.UniqueConstraint("tenant", "name", name="role_name_once_a_tenant"),
            models.UniqueConstraint("name", condition=models.Q(tenant=None), name="role_built_in_once"),
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


class ApiToken(models.Model):
    """A bearer token of a person, for one tenant or (operators, own account) for none; only its SHA-256 is kept."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=64)
    prefix = models.CharField(max_length=12, db_index=True)
    digest = models.CharField(max_length=64, unique=True)
    permissions = models.JSONField(null=True, blank=True)
    """None: whatever its owner may; else the intersection with this list."""
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.prefix}…"


class Quota(models.Model):
    """How much of one resource a tenant (its children included) may use, and uses; no limit is None.

    Not tenant-owned: a child's reservation locks its ancestors' rows. ``tenants.services.quota`` is its only writer.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    resource = models.CharField(max_length=32)
    limit = models.PositiveBigIntegerField(null=True, blank=True)
    used = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint("tenant", "resource", name="quota_once_a_resource"),
            models.CheckConstraint(condition=models.Q(used__gte=0), name="quota_used_not_negative"),
        ]


class QuotaHold(models.Model):
    """Quota kept aside by an operation until it is settled; ``holder`` is the operation's id."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    resource = models.CharField(max_length=32)
    amount = models.PositiveBigIntegerField()
    holder = models.UUIDField()

    class Meta:
        constraints = [models.UniqueConstraint("holder", "tenant", "resource", name="quota_hold_once")]


class IdempotentAnswer(models.Model):
    """The first answer to a POST with an Idempotency-Key, written in the same transaction as what the POST did."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    caller = models.UUIDField()
    key = models.CharField(max_length=255)
    request_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    headers = models.JSONField(default=dict)
    body = models.TextField(default="", blank=True)
    """Sealed: an answer may hold a secret that is shown once."""
    created_at = models.DateTimeField(default=now, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint("caller", "key", name="idempotency_key_once_a_caller")]
