"""Sign-ins that failed."""

from __future__ import annotations

from django.db import models
from django.utils.timezone import now

from portal.core.ids import uuid7


class FailedSignIn(models.Model):
    """A sign-in that failed a moment ago, as whomever it was meant: nobody has looked yet whether that is anybody."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.CharField(max_length=254)
    address = models.CharField(max_length=45)
    request_id = models.CharField(max_length=40)
    at = models.DateTimeField(default=now)
