"""Closing an hour of a large installation, and a page of usage records however many there are.

    .venv/bin/python -m benchmarks.billing [--guests 25000 100000] [--records 1000000 5000000] [--database sqlite]

Starts a private database. The ledger is simulated: each machine has its vCPUs, memory and disk in use, one in twenty was
switched within the hour. "Close" is ``hours_close`` of one hour whole, with its digest and its commit; of the hour that becomes
final ``LAG`` hours later the ledger is read again and compared, which is timed as "close and finalise". Records of the page are
a hundred tenants'; pages are of 500, the first, one from the middle and the last. Prints Markdown; ``benchmarks/README.md`` keeps
the results.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin" / "lib"))
from tests.support import services

HOUR = timedelta(hours=1)
TENANTS = 100
PAGE = 500


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guests", type=int, nargs="*", default=[25_000, 50_000, 100_000])
    parser.add_argument("--records", type=int, nargs="*", default=[1_000_000, 5_000_000])
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    given = parser.parse_args()
    with services.private_directory() as place, tempfile.TemporaryDirectory() as data:
        if given.database == "sqlite":
            os.environ["DATABASE_URL"] = f"sqlite:///{place}/db.sqlite3"
        with services.provide():
            os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
            os.environ["GUESTHOUSE_DATA_DIR"] = data
            import django

            django.setup()
            from django.core.management import call_command

            call_command("migrate", interactive=False, verbosity=0)
            print(
                "| guests | what | records | seconds | own processor's | µs a record |\n| --- | --- | --- | --- | --- | --- |"
            )
            for guests in given.guests:
                close(guests)
            print("\n| records | page | ms |\n| --- | --- | --- |")
            for records in given.records:
                pages(records)


def close(guests: int) -> None:
    """Hours of so many machines, in an empty database."""
    from billing.metering import LAG
    from billing.services.hours import GRACE, hours_close

    begin = datetime(2026, 1, 1, tzinfo=UTC)
    empty()
    fill_ledger(guests, begin)
    for hour in range(LAG + 1):
        before, spent = time.perf_counter(), time.process_time()
        assert hours_close(at=begin + (hour + 1) * HOUR + GRACE) == 1
        took, spent = time.perf_counter() - before, time.process_time() - spent
        if hour in (0, LAG):
            count = written(begin + hour * HOUR)
            name = "close" if hour == 0 else "close and finalise"
            print(f"| {guests} | {name} | {count} | {took:.1f} | {spent:.1f} | {took / count * 1e6:.0f} |", flush=True)


def written(start: datetime) -> int:
    """How many records the closing of that hour wrote."""
    from billing.models import ClosedHour
    from billing.selectors.records import written_by
    from tenants.scoping import every_tenant

    with every_tenant(why="benchmark"):
        return written_by(ClosedHour.objects.get(start=start)).count()


def tenants() -> list[Any]:
    """A hundred of them."""
    from tenants.models import Tenant

    names = [f"t{number}" for number in range(TENANTS)]
    Tenant.objects.bulk_create([Tenant(slug=name, name=name) for name in names], ignore_conflicts=True)
    return list(Tenant.objects.filter(slug__in=names))


def fill_ledger(guests: int, begin: datetime) -> None:
    """Three meters of each machine; one in twenty was off for a while in the first hour."""
    from tenants.journal.models import UsageInterval
    from tenants.scoping import every_tenant

    owners = tenants()
    dice = random.Random(1)

    def rows() -> Iterator[UsageInterval]:
        from portal.core.ids import uuid7

        for number in range(guests):
            for meter, quantity in (("vcpus", 2), ("memory_mib", 4096), ("disk_gib", 40)):
                facts: dict[str, Any] = {
                    "tenant": owners[number % TENANTS], "resource_type": "guest", "resource_id": uuid7(), "meter": meter,
                    "quantity": quantity, "attributes": {"flavor": "small"},
                }  # fmt: skip
                if dice.random() < 0.05:
                    off = begin + timedelta(seconds=dice.randrange(1, 1800))
                    yield UsageInterval(**facts, started_at=begin, ended_at=off)
                    yield UsageInterval(**facts, started_at=off + timedelta(seconds=60))
                else:
                    yield UsageInterval(**facts, started_at=begin)

    with every_tenant(why="benchmark"):
        UsageInterval.objects.bulk_create(rows(), batch_size=5000)


def empty() -> None:
    """Forget what was closed and used, triggers or not."""
    from django.db import connection

    tables = (
        "billing_usagerecord",
        "billing_closedhour",
        "tenants_usageinterval",
        "billing_account",
        "billing_closing",
    )
    with connection.cursor() as cursor:
        for table in tables:
            if connection.vendor == "postgresql":
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
                cursor.execute(f"TRUNCATE {table}")
                cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
            elif table.endswith(("account", "closing")):
                cursor.execute(f"DELETE FROM {table}")
    from billing.anchor import anchor_path

    anchor_path().unlink(missing_ok=True)


def pages(records: int) -> None:
    """What 500 of so many take, by the feed's query and by a month's."""
    from django.db import connection

    empty()
    owners = tenants()
    each = records // TENANTS
    with connection.cursor() as cursor:
        for owner in owners:
            cursor.execute(
                "INSERT INTO billing_usagerecord (tenant_id, seq, resource_type, resource_id, meter, window_start, window_end, "
                "quantity, attributes, revision, correction, recorded_at) SELECT %s, n, 'guest', gen_random_uuid(), 'vcpus', "
                "timestamptz '2025-01-01' + (n / %s) * interval '1 hour', timestamptz '2025-01-01' + (n / %s + 1) * "
                "interval '1 hour', 7200, '{\"flavor\": \"small\"}', 1, false, now() FROM generate_series(1, %s) AS n",
                [owner.pk, max(1, each // 8000), max(1, each // 8000), each],
            )
        cursor.execute("ANALYZE billing_usagerecord")
    for name, took in timed(owners[0], each):
        print(f"| {records} | {name} | {took:.1f} |", flush=True)


def timed(owner: Any, each: int) -> Iterator[tuple[str, float]]:
    """Each page's median of nine, in ms."""
    from billing.models import UsageRecord
    from billing.selectors.records import as_closed
    from tenants.scoping import tenant_scope

    with tenant_scope(owner):
        rows = UsageRecord.objects.select_related("tenant")
        middle = datetime(2025, 6, 1, tzinfo=UTC)
        asked = {
            "feed, first": rows.order_by("seq"),
            "feed, middle": rows.filter(seq__gt=each // 2).order_by("seq"),
            "feed, last": rows.filter(seq__gt=each - PAGE).order_by("seq"),
            "a month, first": as_closed(
                rows.filter(window_start__gte=middle, window_start__lt=middle + 720 * HOUR)
            ).order_by("window_start", "seq"),
        }
        for name, query in asked.items():
            took = []
            for _round in range(9):
                before = time.perf_counter()
                assert len(list(query[:PAGE])) == PAGE
                took.append((time.perf_counter() - before) * 1000)
            yield name, statistics.median(took)


if __name__ == "__main__":
    main()
