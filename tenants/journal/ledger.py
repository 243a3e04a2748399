"""The row that serialises a tenant's journal. Locked last, after quota, host and guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenants.journal.models import Journal

if TYPE_CHECKING:
    from tenants.models import Tenant


def journal_lock(tenant: Tenant) -> Journal:
    """The tenant's journal row, locked until the transaction ends."""
    row = Journal.objects.select_for_update().filter(tenant=tenant).first()
    if row is None:
        Journal.objects.get_or_create(tenant=tenant)
        row = Journal.objects.select_for_update().get(tenant=tenant)
    return row
