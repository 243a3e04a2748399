"""What was last read of machines for their people."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from tenants.scoping import TenantOwned


class ReadingKind(models.TextChoices):
    """What was looked at."""

    SCREEN = "screen", "Screen"
    """PNG."""
    LOG = "log", "Log"
    """UTF-8 text: the end of its serial line, without what would move a terminal."""
    FACTS = "facts", "Facts"
    """JSON: what its agent says of it."""


class Reading(TenantOwned):
    """The last look at one thing of a machine; its own word, shown to people and believed by nothing."""

    guest = models.ForeignKey("vms.Guest", on_delete=models.CASCADE, related_name="readings")
    kind = models.CharField(max_length=8, choices=ReadingKind.choices)
    content = models.BinaryField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint("guest", "kind", name="reading_one_a_kind")]
