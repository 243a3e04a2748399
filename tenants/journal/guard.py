"""Does the database itself still refuse to change what is written once? A migration or a hand may have taken that away."""

from __future__ import annotations

from typing import Final

from django.db import connection

from tenants.journal.models import AuditEntry, InstallationEntry, UsageInterval

KINDS: Final = {"postgresql": ("append_only", "never_emptied"), "sqlite": ("no_change", "no_loss", "no_replacement")}
"""By database: the triggers that migrations 0004 and 0010 set on each log."""
LEDGER: Final = {
    "postgresql": ("append_only", "never_emptied"),
    "sqlite": (
        "no_overlap", "no_later_overlap", "whole_seconds", "whole_seconds_later", "no_change", "no_loss", "no_replacement",
    ),
}  # fmt: skip
"""By database: the triggers that migration 0021 set on the usage ledger."""
LEDGER_RULES: Final = {"postgresql": {"usage_never_overlaps", "usage_whole_seconds"}, "sqlite": set[str]()}
"""By database: what else it set there; on SQLite triggers do all of it."""
ON_NOW: Final = {
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A') "
    "UNION SELECT conname FROM pg_constraint WHERE convalidated",
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
}


def guards_missing() -> list[str]:
    """The triggers of the audit logs that are not there or switched off, by name; empty when the logs are guarded."""
    logs = (AuditEntry._meta.db_table, InstallationEntry._meta.db_table)
    return missing({f"{log}_{kind}" for log in logs for kind in KINDS[connection.vendor]})


def ledger_guards_missing() -> list[str]:
    """The same of the usage ledger."""
    table = UsageInterval._meta.db_table
    return missing({f"{table}_{kind}" for kind in LEDGER[connection.vendor]} | LEDGER_RULES[connection.vendor])


def missing(wanted: set[str]) -> list[str]:
    """Which of these triggers and constraints the database does not hold at present, by name."""
    with connection.cursor() as cursor:
        cursor.execute(ON_NOW[connection.vendor])
        return sorted(wanted - {str(name) for (name,) in cursor.fetchall()})
