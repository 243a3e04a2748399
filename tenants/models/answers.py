"""What a POST answered, kept for its repetition."""

from __future__ import annotations

from django.db import models
from django.utils.timezone import now

from portal.core.ids import uuid7


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
