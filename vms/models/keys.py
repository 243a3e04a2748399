"""SSH keys that guests are made with."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from tenants.scoping import TenantOwned


class SshKey(TenantOwned):
    """A public key of the tenant, put into guests when they are made."""

    name = models.CharField(max_length=64)
    public_key = models.TextField()
    fingerprint = models.CharField(max_length=64)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint("tenant", "name", name="ssh_key_name_once"),
            models.UniqueConstraint("tenant", "fingerprint", name="ssh_key_once"),
        ]

    def __str__(self) -> str:
        return self.name
