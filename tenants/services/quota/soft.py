"""Soft limits: above one a tenant is warned, and after the grace it binds."""

from __future__ import annotations

from datetime import datetime

from tenants.models import Quota, Tenant
from tenants.reactions import announce
from tenants.services.quota.reckon import soft_hard_at


def soft_watch(tenant: Tenant, row: Quota, at: datetime) -> None:
    """Note that ``row`` went above its soft limit, or below it again; call after every change, under the gates.

    Going above is announced once (``quota.soft``: tenant, row, hard_at), in the same transaction.
    """
    above = row.soft_limit is not None and row.used > row.soft_limit
    if above == (row.soft_since is not None):
        return
    row.soft_since = at if above else None
    row.save(update_fields=["soft_since"])
    if above:
        announce("quota.soft", tenant=tenant, row=row, hard_at=soft_hard_at(row))
