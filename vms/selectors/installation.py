"""Who we are on the hosts."""

from __future__ import annotations

from vms.models import Installation
from vms.names import Owner


def installation_owner() -> Owner:
    """The mark that our things on hosts carry."""
    return Installation.objects.get().owner
