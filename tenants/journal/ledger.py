"""The rows that serialise journals. Locked last, after quota, host and guest; the installation's after a tenant's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenants.journal.models import InstallationJournal, Journal

if TYPE_CHECKING:
    from tenants.models import Tenant


def journal_lock(tenant: Tenant) -> Journal:
    """The tenant's journal row, locked until the transaction ends."""
    row = Journal.objects.select_for_update().filter(tenant=tenant).first()
    if row is None:
        Journal.objects.get_or_create(tenant=tenant)
        row = Journal.objects.select_for_update().get(tenant=tenant)
    return row


def installation_journal_lock() -> InstallationJournal:
    """The row of what operators do outside any tenant, locked until the transaction ends."""
    row = InstallationJournal.objects.select_for_update().first()
    if row is None:
        InstallationJournal.objects.get_or_create(pk=1)
        row = InstallationJournal.objects.select_for_update().get(pk=1)
    return row
