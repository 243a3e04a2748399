"""The audit log, as tests read and forge it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from tenants.journal.audit import audit_hash
from tenants.journal.models import AuditEntry, Journal
from tenants.scoping import tenant_scope
from tests.factories import House


def entries(house: House) -> list[AuditEntry]:
    with tenant_scope(house.tenant):
        return list(AuditEntry.objects.order_by("seq"))


@contextmanager
def unguarded(table: str = "tenants_auditentry") -> Iterator[None]:
    """Tamper as one who may change the schema could: without the trigger."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def rewrite_all(house: House, *, without: int) -> None:
    """The cleverest forger: drop an entry, then number and hash all later ones anew, journal included."""
    with tenant_scope(house.tenant), unguarded():
        AuditEntry.objects.filter(seq=without).delete()
        before = AuditEntry.objects.get(seq=without - 1)
        for entry in AuditEntry.objects.filter(seq__gt=without).order_by("seq"):
            entry.seq, entry.prev_hash = entry.seq - 1, before.hash
            entry.hash = audit_hash(entry)
            entry.save()
            before = entry
        Journal.objects.filter(tenant=house.tenant).update(audit_seq=before.seq, audit_hash=before.hash)
