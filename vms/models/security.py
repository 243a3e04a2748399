"""Security groups, and which card is guarded by which."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from tenants.scoping import TenantOwned
from vms.models.networks import Port


class SecurityGroup(TenantOwned):
    """Rules that allow (``vms.firewall.Rule.as_dict`` each), shared by the cards that it guards.

    ``rules`` are wanted, ``applied`` were last put in place everywhere; while they differ an operation is at it.
    """

    name = models.CharField(max_length=40)
    note = models.CharField(max_length=200, blank=True)
    is_default = models.BooleanField(default=False)
    """Guards the cards that are made without a word about groups."""
    rules = models.JSONField(default=list)
    applied = models.JSONField(default=list)
    placed = models.JSONField(default=dict)
    """The addresses, by id, of the groups that the rules name, as they were when the rules were last put in place."""
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint("tenant", "name", name="security_group_name_once"),
            models.UniqueConstraint("tenant", condition=models.Q(is_default=True), name="security_group_one_default"),
        ]

    def __str__(self) -> str:
        return self.name


class Guard(TenantOwned):
    """A group that guards a card. A card with none is from before there were groups, and has its network's filter only."""

    port = models.ForeignKey(Port, on_delete=models.CASCADE, related_name="guards")
    group = models.ForeignKey(SecurityGroup, on_delete=models.PROTECT, related_name="guards")

    class Meta:
        constraints = [models.UniqueConstraint("port", "group", name="guard_once")]
