"""The database refuses to change an audit log, whatever is tried; and when it no longer would, that is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from tenants.journal.guard import KINDS, guards_missing
from tests import factories
from tests.architecture.sources import ROOT
from vms.reconcile.audit import audit

LOGS = ("tenants_auditentry", "tenants_installationentry")
REFUSAL = "the audit log is append-only"
EVERYWHERE = {
    "an update": "UPDATE {log} SET action = 'x'",
    "an update of nothing": "UPDATE {log} SET action = action",
    "a deletion": "DELETE FROM {log}",
    "a renumbering": "UPDATE {log} SET seq = seq + 1",
    "a move away": "UPDATE {log} SET id = id WHERE seq = 1",
}
POSTGRESQL = {
    **EVERYWHERE,
    "emptying": "TRUNCATE {log}",
    "emptying with others": "TRUNCATE tenants_event, {log} RESTART IDENTITY CASCADE",
    "an upsert": "INSERT INTO {log} SELECT * FROM {log} ON CONFLICT (id) DO UPDATE SET action = 'x'",
}
SQLITE = {
    **EVERYWHERE,
    "a replacement": "INSERT OR REPLACE INTO {log} SELECT * FROM {log}",
    "a replacement by name": "REPLACE INTO {log} SELECT * FROM {log}",
    "a replacement by update": "UPDATE OR REPLACE {log} SET action = 'x'",
    "an upsert": "INSERT INTO {log} SELECT * FROM {log} WHERE true ON CONFLICT (id) DO UPDATE SET action = 'x'",
}


@pytest.mark.django_db
@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("statement", POSTGRESQL.values(), ids=POSTGRESQL)
def test_postgresql_refuses(statement: str, log: str) -> None:
    factories.tenant_with_owner()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    with pytest.raises(IntegrityError, match=REFUSAL), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(log=log))


PROBE = f"""
import django
django.setup()
from django.core.management import call_command
from django.db import connection, IntegrityError
call_command("migrate", verbosity=0)
from tests import factories
from tenants.journal.chain import chain_verify
from tenants.journal.guard import guards_missing
from tenants.journal.models import AuditEntry
from tenants.journal.retention import audit_forget
from tenants.scoping import tenant_scope
from portal.core.clock import now
tenant = factories.tenant_with_owner("acme").tenant
print("missing", *guards_missing())
for log in {LOGS!r}:
    for name, statement in {SQLITE!r}.items():
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement.format(log=log))
            print("done", name, log)
        except IntegrityError as error:
            assert str(error) == {REFUSAL!r}, error
with tenant_scope(tenant):
    assert chain_verify(tenant).is_whole
    assert audit_forget(tenant, before=now())
    assert chain_verify(tenant).is_whole
from django.db import models
wider = models.CharField(max_length=64)
wider.set_attributes_from_name("action")
with connection.schema_editor() as schema:
    schema.alter_field(AuditEntry, AuditEntry._meta.get_field("action"), wider)
print("rebuilt", *guards_missing())
"""


@pytest.fixture(scope="module")
def sqlite_said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What a fresh SQLite that all migrations have been over did, by the first word of each line."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "portal.settings.test",
        "DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('probe')}/probe.sqlite3",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        word, *rest = line.split()
        said.setdefault(word, []).append(" ".join(rest))
    return said


def test_sqlite_refuses_after_every_migration(sqlite_said: dict[str, list[str]]) -> None:
    """A migration that makes a table anew drops its triggers: whoever writes one must set them again."""
    assert sqlite_said["missing"] == [""]
    assert sqlite_said.get("done", []) == []


def test_a_migration_that_drops_the_triggers_is_noticed(sqlite_said: dict[str, list[str]]) -> None:
    """SQLite makes the table anew to alter a column."""
    (missing,) = sqlite_said["rebuilt"]

    assert missing.split() == sorted(f"tenants_auditentry_{kind}" for kind in KINDS["sqlite"])


@pytest.fixture
def switched_off(db: None) -> Iterator[str]:
    """A trigger that somebody has switched off."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE tenants_auditentry DISABLE TRIGGER tenants_auditentry_append_only")
    return "tenants_auditentry_append_only"


def test_a_trigger_that_was_switched_off_is_named(switched_off: str) -> None:
    assert guards_missing() == [switched_off]
    with pytest.raises(CommandError, match=f"NOT GUARDED.*{switched_off}"):
        call_command("verify_audit_log")
    assert [line for line in audit() if switched_off in line]


@pytest.mark.django_db
def test_all_are_there_and_on() -> None:
    assert guards_missing() == []
