"""Which portal this is."""

from __future__ import annotations

from django.db import models

from vms.names import Owner


class Installation(models.Model):
    """The one row that says who we are on the hosts; the epoch is raised when a portal is restored from a copy."""

    id = models.CharField(primary_key=True, max_length=36)
    epoch = models.PositiveIntegerField(default=1)

    @property
    def owner(self) -> Owner:
        """The mark that our domains, networks and filters carry."""
        return Owner(self.id, self.epoch)
