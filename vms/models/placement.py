"""Groups of machines that are to stand on hosts of their own, or on one."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from tenants.scoping import TenantOwned


class PlacementGroup(TenantOwned):
    """What its machines want of each other's hosts; neither ``kind`` nor ``strict`` changes while it is there.

    That no two machines of one that keeps them strictly apart share a host is kept by the machines' own rows
    (``Guest.keeps_apart``).
    """

    class Kind(models.TextChoices):
        """On hosts of their own, or all on one."""

        APART = "apart"
        TOGETHER = "together"

    name = models.CharField(max_length=40)
    kind = models.CharField(max_length=8, choices=Kind)
    strict = models.BooleanField()
    """Is a machine rather not made than made elsewhere?"""
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint("tenant", "name", name="placement_group_name_once"),
            models.CheckConstraint(
                condition=models.Q(kind__in=["apart", "together"]), name="placement_group_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def keeps_apart(self) -> bool:
        """May no two of its machines share a host?"""
        return self.strict and self.kind == self.Kind.APART
