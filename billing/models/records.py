"""What of the usage ledger has been closed: records, hours, and where the closing stands."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import models

from billing.metering import Key, Standing, Window, record_id
from tenants.scoping import TenantOwned

START_DIGEST = "0" * 64


class UsageRecord(TenantOwned):
    """So much of a meter in a piece of an hour, as one closing found it; written once, never changed nor deleted.

    What is wrong is superseded by the next ``revision`` of the same resource, meter and beginning. ``correction``: written
    after its hour was final. ``id`` rises in commit order over all tenants, ``seq`` within each. Triggers of migration 0003
    refuse every change.
    """

    id = models.BigAutoField(primary_key=True)  # type: ignore[assignment]  # a number, not a UUID: it tells the order
    seq = models.PositiveBigIntegerField()
    resource_type = models.CharField(max_length=32)
    resource_id = models.UUIDField()
    meter = models.CharField(max_length=40)
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    quantity = models.PositiveBigIntegerField()
    attributes: models.JSONField[Any, Any] = models.JSONField(default=dict)
    revision = models.PositiveSmallIntegerField(default=1)
    correction = models.BooleanField(default=False)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint("tenant", "seq", name="usage_record_seq_once"),
            models.UniqueConstraint("resource_id", "meter", "window_start", "revision", name="usage_record_once"),
            models.CheckConstraint(
                condition=models.Q(window_end__gte=models.F("window_start")), name="usage_record_ends_after_start"
            ),
            models.CheckConstraint(condition=models.Q(revision__gte=1), name="usage_record_revision_from_one"),
        ]
        indexes = [models.Index(fields=["tenant", "window_start", "seq"], name="usage_record_by_window")]

    @property
    def key(self) -> Key:
        """What its revisions have in common."""
        return self.resource_id, self.meter, self.window_start

    @property
    def public_id(self) -> UUID:
        """The id that the outside knows."""
        return record_id(self.key, self.revision)

    @property
    def supersedes(self) -> UUID | None:
        """The public id of the revision before it."""
        return record_id(self.key, self.revision - 1) if self.revision > 1 else None

    @property
    def standing(self) -> Standing:
        """As ``billing.metering`` reads it."""
        window = Window(
            self.tenant_id, self.resource_type, self.resource_id, self.meter,
            self.window_start, self.window_end, self.quantity, self.attributes,
        )  # fmt: skip
        return Standing(window, self.revision)


class Account(models.Model):
    """A tenant as billing knows it: the newest number of its usage records."""

    tenant = models.OneToOneField("tenants.Tenant", on_delete=models.PROTECT, primary_key=True, related_name="+")
    record_seq = models.PositiveBigIntegerField(default=0)


class ClosedHour(models.Model):
    """An hour whose records are written, with the chained digest of all that its closing wrote, and between which ids."""

    start = models.DateTimeField(primary_key=True)
    first_id = models.PositiveBigIntegerField()
    last_id = models.PositiveBigIntegerField()
    digest = models.CharField(max_length=64)
    closed_at = models.DateTimeField()


class Closing(models.Model):
    """The one row that whoever closes an hour locks: up to when hours are closed, the digest of the last, and what is billed."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    until = models.DateTimeField(null=True)
    digest = models.CharField(max_length=64, default=START_DIGEST)
    billed_until = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="closing_is_one")]
