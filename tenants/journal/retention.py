"""What an audit log lets go: its oldest entries, in one piece, with the hash from which the rest is checked."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from portal.core.clock import now
from tenants.journal.ledger import installation_journal_lock, journal_lock
from tenants.journal.models import AuditEntry, InstallationEntry
from tenants.models import Tenant
from tenants.scoping import tenant_scope

BATCH: Final = 5000


def audit_forget_old() -> int:
    """Let go of everything in every log that is past ``AUDIT_RETENTION``; how many entries went. Safe to repeat and to kill."""
    before = now() - settings.AUDIT_RETENTION
    gone = audit_forget(None, before=before)
    for tenant in Tenant.objects.order_by("pk").iterator():
        with tenant_scope(tenant):
            gone += audit_forget(tenant, before=before)
    return gone


def audit_forget(tenant: Tenant | None, *, before: datetime) -> int:
    """Let go of the oldest entries of one log up to the first that is not from before ``before``; how many."""
    gone = 0
    while found := _forget_batch(tenant, before):
        gone += found
    return gone


@transaction.atomic
def _forget_batch(tenant: Tenant | None, before: datetime) -> int:
    """Raise the floor first: the database refuses to delete anything above it."""
    journal = journal_lock(tenant) if tenant is not None else installation_journal_lock()
    rows: Any = AuditEntry.objects.filter(tenant=tenant) if tenant is not None else InstallationEntry.objects.all()
    oldest = rows.order_by("seq").only("seq", "at", "hash")[:BATCH]
    last = None
    for entry in oldest:
        if entry.at >= before:
            break
        last = entry
    if last is None:
        return 0
    journal.audit_floor, journal.audit_floor_hash = last.seq, last.hash
    journal.save(update_fields=["audit_floor", "audit_floor_hash"])
    deleted, _by_model = rows.filter(seq__lte=last.seq).delete()
    return int(deleted)
