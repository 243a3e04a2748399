"""Does the database itself still refuse to change the audit logs? A migration or a hand may have taken that away."""

from __future__ import annotations

from typing import Final

from django.db import connection

from tenants.journal.models import AuditEntry, InstallationEntry

KINDS: Final = {"postgresql": ("append_only", "never_emptied"), "sqlite": ("no_change", "no_loss", "no_replacement")}
"""By database: the triggers that migrations 0004 and 0010 set on each log."""
ON_NOW: Final = {
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')",
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
}


def guards_missing() -> list[str]:
    """The triggers that are not there or switched off, by name; empty when the logs are guarded."""
    wanted = {
        f"{log._meta.db_table}_{kind}" for log in (AuditEntry, InstallationEntry) for kind in KINDS[connection.vendor]
    }
    with connection.cursor() as cursor:
        cursor.execute(ON_NOW[connection.vendor])
        return sorted(wanted - {str(name) for (name,) in cursor.fetchall()})
