"""Whether an image starts at all, tried on a host before machines are made of it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from portal.core.ids import uuid7
from vms.models.hosts import Host
from vms.models.images import Image


class Verdict(models.TextChoices):
    """How far a test boot came; the words are what people read."""

    LOGIN = "login", _("It reached a login prompt.")
    PANIC = "panic", _("Its kernel panicked.")
    EMERGENCY = "emergency", _("It stopped at an emergency shell.")
    NOTHING = "nothing", _("Its firmware found no system to start.")
    OFF = "off", _("It switched itself off.")
    SILENT = "silent", _("No login prompt was seen on its serial line in time. Look at its screen.")


class ImageTest(models.Model):
    """One test boot; its id names its machine and files on ``host``, which it gets in its turn and lets go of when nothing of
    them is left there.

    While it has a host it takes ``vcpus``, ``memory_mib`` and ``disk_gib`` of it. Only the last one that ended is kept.
    ``log`` is the end of its serial line as plain text, ``screen`` a PNG: the image's own word.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="tests")
    host = models.ForeignKey(Host, null=True, on_delete=models.PROTECT, related_name="image_tests")
    vcpus = models.PositiveSmallIntegerField(default=1)
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()
    limit_s = models.PositiveSmallIntegerField(default=900)
    verdict = models.CharField(max_length=10, choices=Verdict.choices, blank=True)
    log = models.TextField(blank=True)
    screen = models.BinaryField(default=b"")
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint("image", condition=Q(ended_at__isnull=True), name="image_test_one_at_a_time"),
            models.UniqueConstraint("image", condition=Q(ended_at__isnull=False), name="image_test_last_is_kept"),
        ]

    @property
    def shape(self) -> str:
        """The state whose shape stands beside the verdict."""
        if self.verdict == Verdict.LOGIN:
            return "running"
        return "unknown" if self.verdict == Verdict.SILENT else "error"
