"""Customers, and the mail domains whose people sign in by their own single sign-on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from portal.core.ids import uuid7

SLUG = RegexValidator(r"\A[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z", _("Use small letters, digits and hyphens."))


class TenantState(models.TextChoices):
    """Where a tenant stands in its life: only an active one can change anything; a closed one is gone."""

    ACTIVE = "active", _("Active")
    SUSPENDED = "suspended", _("Suspended")
    CLOSING = "closing", _("Closing")
    CLOSED = "closed", _("Closed")


RANK: Final = tuple(TenantState)
"""States, the one that allows most first."""


class Tenant(models.Model):
    """A customer: owns guests, has members and a quota; may be the child of a reseller."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(max_length=40, unique=True, validators=[SLUG])
    name = models.CharField(max_length=100)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    state = models.CharField(max_length=12, choices=TenantState, default=TenantState.ACTIVE)
    state_since = models.DateTimeField(default=now)
    state_reason = models.CharField(max_length=500, blank=True)
    """What its people are told of why it is suspended or closing."""
    purge_after = models.DateTimeField(null=True, blank=True, db_index=True)
    """When a closing tenant's things fall for good."""
    keeps_guests = models.BooleanField(default=False)
    """While it is suspended its machines go on running."""
    held = models.BooleanField(default=False)
    """An operator suspended or closes it, so that only an operator takes it up again."""
    require_second_factor = models.BooleanField(default=False)
    timezone = models.CharField(max_length=64, default="UTC")
    language = models.CharField(max_length=16, default="en")
    bin_days = models.PositiveSmallIntegerField(default=7)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=now)

    events_at: int | None = None
    """The number of its newest event when ``tenant_with_line`` read it; nothing where it was read otherwise."""

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=TenantState.values), name="tenant_state_known"),
            models.CheckConstraint(
                condition=Q(state=TenantState.CLOSING, purge_after__isnull=False)
                | (~Q(state=TenantState.CLOSING) & Q(purge_after=None)),
                name="tenant_closing_has_an_end",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def line(self) -> Iterator[Tenant]:
        """Itself, then whoever it is a child of, up to the root; a query for each that was not read with it."""
        seen: set[object] = set()
        node: Tenant | None = self
        while node is not None and node.pk not in seen:
            seen.add(node.pk)
            yield node
            node = node.parent

    @property
    def decider(self) -> Tenant:
        """Of itself and those above, the one whose state lets its people do least; itself where there is none."""
        return max(self.line(), key=lambda tenant: RANK.index(tenant.state))

    @property
    def standing(self) -> TenantState:
        """The worst state of itself and those above: a suspended reseller's customers are suspended with it."""
        return TenantState(self.decider.state)

    @property
    def is_active(self) -> bool:
        """May anything be changed in it?"""
        return self.standing == TenantState.ACTIVE

    @property
    def may_run(self) -> bool:
        """May its machines go on running?"""
        return all(
            tenant.state == TenantState.ACTIVE or (tenant.state == TenantState.SUSPENDED and tenant.keeps_guests)
            for tenant in self.line()
        )


class SignInJoin(models.Model):
    """A person who was let into a tenant by its domain, once: whom the tenant takes out again stays out until invited."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    user = models.ForeignKey("tenants.User", on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=now)

    class Meta:
        constraints = [models.UniqueConstraint("tenant", "user", name="sign_in_join_once")]


class SignInDomain(models.Model):
    """A mail domain whose people sign in through one single sign-on and join one tenant; set by operators alone.

    The operator vouches that the domain is the tenant's: whoever the provider says has an address in it becomes a member.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    domain = models.CharField(max_length=253)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    app = models.ForeignKey("socialaccount.SocialApp", on_delete=models.PROTECT, related_name="+")
    role = models.ForeignKey("tenants.Role", on_delete=models.PROTECT, related_name="+")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=now)

    class Meta:
        constraints = [models.UniqueConstraint(Lower("domain"), name="sign_in_domain_once")]

    def __str__(self) -> str:
        return self.domain
