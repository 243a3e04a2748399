"""The database itself keeps the usage ledger straight: no overlap, whole seconds, nothing rewritten, on both databases."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction

from portal.core.clock import now
from portal.core.ids import uuid7
from tenants.journal.guard import ledger_guards_missing
from tenants.journal.models import UsageInterval
from tenants.journal.usage import LATE, usage_close, usage_switch
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.sources import ROOT
from vms.reconcile.audit import audit

BEGIN = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
TABLE = "tenants_usageinterval"

HELD = [(0, 10), (10, 10), (20, 30), (40, None)]
"""Seconds after ``BEGIN`` of intervals that are there."""
TRIES: dict[str, tuple[tuple[float, float | None], bool]] = {
    "before all": ((-5, 0), True),
    "between two, touching both": ((10, 20), True),
    "between two": ((32, 38), True),
    "of no length, where another is": ((5, 5), True),
    "until the open one": ((30, 40), True),
    "the same": ((0, 10), False),
    "over a beginning": ((-1, 1), False),
    "over an end": ((9, 11), False),
    "inside": ((2, 3), False),
    "around": ((19, 31), False),
    "over all": ((-9, 99), False),
    "in the open one": ((50, 60), False),
    "into the open one": ((39, 41), False),
    "open, into a closed one": ((5, None), False),
    "open, before all": ((-5, None), False),
    "a broken second at the beginning": ((100.5, 101), False),
    "a broken second at the end": ((31, 31.5), False),
    "ends before it begins": ((38, 36), False),
}
CHANGES = {
    "an end that was": f"UPDATE {TABLE} SET ended_at = started_at WHERE ended_at IS NOT NULL",
    "the quantity of an open one": f"UPDATE {TABLE} SET quantity = 9 WHERE ended_at IS NULL",
    "the beginning of an open one": f"UPDATE {TABLE} SET started_at = '2026-03-29 00:30:41' WHERE ended_at IS NULL",
    "the meter of an open one": f"UPDATE {TABLE} SET meter = 'x' WHERE ended_at IS NULL",
    "an end that opens again": f"UPDATE {TABLE} SET ended_at = NULL WHERE ended_at IS NOT NULL",
    "a deletion": f"DELETE FROM {TABLE}",
    "a deletion of the open one": f"DELETE FROM {TABLE} WHERE ended_at IS NULL",
}


def interval(tenant: Tenant, resource: UUID, since: float, until: float | None) -> UsageInterval:
    return UsageInterval.objects.create(
        tenant=tenant,
        resource_type="guest",
        resource_id=resource,
        meter="vcpus",
        quantity=1,
        started_at=BEGIN + timedelta(seconds=since),
        ended_at=None if until is None else BEGIN + timedelta(seconds=until),
    )


def wrong_answers() -> list[str]:
    """What this database let through, or refused, against the two tables above; nothing stays of the tries."""
    tenant = factories.tenant_with_owner("acme").tenant
    resource, found = uuid7(), []
    with tenant_scope(tenant):
        for since, until in HELD:
            interval(tenant, resource, since, until)
        for name, ((since, until), fine) in TRIES.items():
            if _stands(lambda since=since, until=until: interval(tenant, resource, since, until)) != fine:
                found.append(name)
        for name, statement in CHANGES.items():
            if _stands(lambda statement=statement: _run(statement)):
                found.append(name)
        if not _stands(lambda: usage_close(tenant, resource_ids=[resource], at=BEGIN + timedelta(seconds=50))):
            found.append("closing the open one")
    return found


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _stands(deed) -> bool:  # type: ignore[no-untyped-def]
    try:
        with transaction.atomic():
            deed()
            transaction.set_rollback(True)
    except IntegrityError:
        return False
    return True


@pytest.mark.django_db
def test_postgresql_keeps_the_ledger_straight() -> None:
    _run("SET CONSTRAINTS ALL IMMEDIATE")
    assert connection.vendor == "postgresql"
    assert wrong_answers() == []
    with pytest.raises(IntegrityError, match="append-only"):
        _run(f"TRUNCATE {TABLE}")


PROBE = """
import django
django.setup()
from django.core.management import call_command
from django.db import connection
call_command("migrate", verbosity=0)
from tenants.journal.guard import ledger_guards_missing
from tests.tenants.test_usage_ledger import wrong_answers
assert connection.vendor == "sqlite"
print([*ledger_guards_missing(), *wrong_answers()])
"""


def test_sqlite_keeps_the_ledger_straight(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its triggers say what PostgreSQL's exclusion constraint says; asked by the same tries."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "portal.settings.test",
        "DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('probe')}/probe.sqlite3",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


@pytest.mark.django_db
@pytest.mark.parametrize(
    "taken",
    [
        f"ALTER TABLE {TABLE} DISABLE TRIGGER {TABLE}_append_only",
        f"ALTER TABLE {TABLE} DROP CONSTRAINT usage_never_overlaps",
        f"ALTER TABLE {TABLE} DROP CONSTRAINT usage_whole_seconds",
    ],
)
def test_a_guard_that_was_taken_away_is_noticed(taken: str) -> None:
    assert ledger_guards_missing() == []

    _run("SET CONSTRAINTS ALL IMMEDIATE")
    _run(taken)

    (missing,) = ledger_guards_missing()
    assert taken.endswith(missing)
    assert [line for line in audit() if missing in line]


@pytest.mark.django_db
def test_what_is_written_down_late_says_so() -> None:
    house, prompt, late = factories.tenant_with_owner(), uuid7(), uuid7()
    with tenant_scope(house.tenant):
        for resource, at in ((prompt, now()), (late, now() - LATE - timedelta(minutes=1))):
            usage_switch(house.tenant, resource_type="guest", resource_id=resource, meter="vcpus", quantity=1, at=at)
        usage_close(house.tenant, resource_ids=[prompt, late], at=now())

        assert UsageInterval.objects.get(resource_id=prompt).late_at is None
        assert UsageInterval.objects.get(resource_id=late).late_at is not None


@pytest.mark.django_db
def test_after_the_clock_was_set_back_the_open_interval_is_still_found() -> None:
    """Ids tell the time: one that was made before the clock's return sorts after a later one that begins at the same second."""
    house, resource = factories.tenant_with_owner(), uuid7()

    def switch(moment: datetime, quantity: int) -> None:
        with time_machine.travel(moment, tick=False):
            usage_switch(
                house.tenant, resource_type="guest", resource_id=resource, meter="vcpus", quantity=quantity, at=moment
            )

    with tenant_scope(house.tenant), transaction.atomic():
        for minutes, quantity in ((60, 1), (0, 2), (1, 3), (2, 0)):
            switch(BEGIN + timedelta(minutes=minutes), quantity)

        rows = UsageInterval.objects.filter(resource_id=resource)
        assert sorted(rows.values_list("quantity", flat=True)) == [1, 2, 3]
        assert not rows.filter(ended_at=None).exists()
