"""What people are told, in the portal and by mail."""

from __future__ import annotations

from django.db import models
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from portal.core.ids import uuid7
from portal.core.sealed import SealedTextField
from tenants.models.people import User
from tenants.models.tenants import Tenant


class NoticeKind(models.TextChoices):
    """What people are told about; each chooses by kind where they want it."""

    QUOTA = "quota", _("Quota")
    OPERATION_FAILED = "operation_failed", _("Failed operations")
    INVITATION = "invitation", _("Invitations")
    SECURITY = "security", _("Security of your account")
    TENANT = "tenant", _("Projects suspended, closing or taken up again")
    VISIT = "visit", _("Visits by operators")


class Notice(models.Model):
    """One thing a person is told in the portal."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=32)
    subject = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    url = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=now, db_index=True)
    read_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["user", "-created_at", "-id"], name="notice_newest_first"),
            models.Index(fields=["user"], condition=models.Q(read_at=None), name="notice_unread"),
        ]


class NoticeChoice(models.Model):
    """Where a person wants one kind of notice; without a row, the kind's own default."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=32)
    in_portal = models.BooleanField()
    by_mail = models.BooleanField()

    class Meta:
        constraints = [models.UniqueConstraint("user", "kind", name="notice_choice_once_a_kind")]


class Letter(models.Model):
    """A mail to be sent: written in the transaction of what it tells, handed to the mail server afterwards, at least once.

    The body may hold a link that opens something, so it is sealed, and dropped when the letter has left.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    to = models.EmailField()
    subject = models.CharField(max_length=200)
    body = SealedTextField(blank=True, default="")
    invites = models.BooleanField(default=False, db_default=False)
    """It asks its reader to join a tenant; of these an address gets a few a day."""
    created_at = models.DateTimeField(default=now)
    due_at = models.DateTimeField(default=now)
    attempts = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(sent_at=None, given_up_at=None), name="letter_waiting"),
            models.Index(fields=["to", "created_at"], condition=models.Q(invites=True), name="letter_invites"),
        ]

    def __str__(self) -> str:
        return self.subject
