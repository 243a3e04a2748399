"""One look at what 200 machines of a host use, its parts, and what it costs the database for each machine and hour.

    .venv/bin/python -m benchmarks.metrics [--guests 200] [--rounds 9] [--database postgresql|sqlite] [--short]

Starts a private database and a libvirt host of the lab with so many real QEMUs: paused, 16 MiB, one disk, no network card (a
paused machine's counters are asked like any other's). A sweep is the watcher's own ``Sampler.sample``: machines read, one call
to libvirt, points written. Beside it "bare" is libvirt's call alone by the same connection. Then a day of minutes, a month of
quarters and a year of hours of each machine are written, and what the pages ask is timed on that. Prints Markdown;
``benchmarks/README.md`` keeps the results.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin" / "lib"))
from benchmarks.machines import fill
from tests.lab.hosts import Host, Lab
from tests.support import services

DOMAIN = """
<domain type='qemu'><name>{name}</name><uuid>{name}</uuid><memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><features><tcg><tb-cache unit='MiB'>1</tb-cache></tcg></features>
  <devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/>
    </disk><memballoon model='virtio'><stats period='10'/></memballoon></devices></domain>"""
KEPT = {1: 25 * 60, 15: 31 * 96, 60: 366 * 24}
"""How many points of each length a machine has at most."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--short", action="store_true", help="the sweep alone")
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    given = parser.parse_args()
    with services.private_directory() as place:
        if given.database == "sqlite":
            os.environ["DATABASE_URL"] = f"sqlite:///{place}/db.sqlite3"
        with services.provide():
            os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
            import django

            django.setup()
            from django.core.management import call_command

            call_command("migrate", interactive=False, verbosity=0)
            lab = Lab(Path("/var/tmp") / f"ghbench-{os.getpid()}", tied=True)
            try:
                measure(lab.up(1)[0], given.guests, given.rounds, short=given.short)
            finally:
                lab.down()


class Recorded:
    """A host that answers at once what it answered before."""

    def __init__(self, readings: Any) -> None:
        self.readings = readings

    def stats(self, _uuids: object) -> Any:
        return self.readings


def measure(host: Host, number: int, rounds: int, *, short: bool) -> None:
    """The whole table, or what a sweep costs alone."""
    from portal.core.clock import now
    from tenants.scoping import every_tenant
    from vms.hypervisor import libvirt_driver
    from vms.models import Guest, MetricPoint
    from vms.reconcile.sample import Sampler
    from vms.selectors.metrics import cpu_sparks, metric_series

    hv = libvirt_driver.connect(host.uri)
    with every_tenant(why="measuring"):
        guests = machines(number)
        boot(host, hv, [str(guest.pk) for guest in guests])
        row = guests[0].host
        assert row is not None
        sampler, pks = Sampler(row, hv), [guest.pk for guest in guests]
        wanted = {str(pk) for pk in pks}
        print(
            f"{number} machines, {rounds} rounds, load {os.getloadavg()[0]:.1f}\n\n| what | median ms | best | worst |"
        )
        print("| --- | --- | --- | --- |")
        turns = iter(range(10**6))
        sampler.sample(next(turns))

        whole, bare, rest = [], [], []
        portal = Sampler(row, Recorded(hv.stats(wanted)))  # type: ignore[arg-type]
        portal.sample(next(turns))
        for _round in range(rounds):
            MetricPoint.objects.all().delete()
            whole.append(seconds(lambda: sampler.sample(next(turns))))
            assert MetricPoint.objects.count() == number
            bare.append(seconds(lambda: hv.stats(wanted)))
            MetricPoint.objects.all().delete()
            rest.append(seconds(lambda: portal.sample(next(turns))))
            assert MetricPoint.objects.count() == number
        line("one sweep: machines read, counters asked, points written", whole)
        line("of it libvirt's call (bare)", bare)
        line("the rest: machines read, points written", rest)
        if short:
            return
        history(guests)
        line("a quarter of an hour is summed", [again(1) for _round in range(rounds)])
        line("a whole day is summed, late", [again(24 * 4) for _round in range(3)])
        at = now()
        for name, lasts, step in (("hour", 1, 1), ("day", 24, 5), ("month", 720, 120), ("year", 8760, 1440)):
            since = at - timedelta(hours=lasts)
            times = [
                seconds(lambda since=since, step=step: metric_series(guests[0], since=since, until=at, step=step))
                for _ in range(rounds)
            ]
            line(f"a {name} of one machine", times)
        line("sparklines of a list of 50", [seconds(lambda: cpu_sparks(pks[:50])) for _ in range(rounds)])
        assert Guest.objects.count() == number
    sizes()


def machines(number: int) -> list[Any]:
    """So many rows of machines that were seen to run, all on one host."""
    from tests import factories
    from vms.models import Guest

    fill(factories.tenant_with_owner().tenant, number, hosts=[factories.host_up()])
    return list(Guest.objects.select_related("host").order_by("pk"))


def boot(host: Host, hv: Any, names: list[str]) -> None:
    """A paused QEMU for each, with an empty disk of its own."""
    import libvirt

    folder = host.pool_dir / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name in names:
        disk = folder / f"{uuid.uuid4().hex}.raw"
        with disk.open("wb") as file:
            file.truncate(1 << 20)
        disk.chmod(0o666)
        hv.raw.createXML(DOMAIN.format(name=name, disk=disk), libvirt.VIR_DOMAIN_START_PAUSED)


def history(guests: list[Any]) -> None:
    """All that is kept of each machine but what is still to be summed."""
    from portal.core.clock import now
    from tests import factories
    from vms.models import MetricPoint

    present = int(now().timestamp()) // 60
    MetricPoint.objects.all().delete()
    amounts = {"cpu_ms": 30_000, "memory_mib_s": 6000, "memory_s": 60, "disk_reads": 40, "disk_read_bytes": 10**7}
    for guest in guests:
        points = []
        for size, number in KEPT.items():
            for minute in range(present // size * size - number * size, present // size * size, size):
                point = factories.metric_point(guest, minute=minute, **amounts)
                point.minutes = size
                points.append(point)
        MetricPoint.objects.bulk_create(points, batch_size=2000)


def again(quarters: int) -> float:
    """How long it takes to sum so many of the last quarters anew, with their hours."""
    from portal.core.clock import now
    from vms.models import MetricPoint
    from vms.services.metrics import LATE_MIN, metrics_roll_up

    since = ((int(now().timestamp()) // 60 - LATE_MIN) // 15 - quarters) * 15
    MetricPoint.objects.filter(minutes__gt=1, minute__gte=since).delete()
    return seconds(metrics_roll_up)


def sizes() -> None:
    """Rows and bytes a machine."""
    from django.db import connection

    from vms.models import MetricPoint

    rows = MetricPoint._base_manager.count()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE vms_metricpoint")
            cursor.execute("SELECT pg_total_relation_size('vms_metricpoint')")
        else:
            cursor.execute("SELECT SUM(pgsize) FROM dbstat WHERE name LIKE '%metric%'")
        taken = cursor.fetchone()[0]
    each = f"{taken / rows:.0f} bytes a row" if taken else "size not told"
    hour = sum(60 / size for size in KEPT)
    print(
        f"\n{rows} rows, {each} with its indexes; a machine and hour: {hour:.0f} rows, all a machine keeps: {sum(KEPT.values())}"
    )


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def line(what: str, spent: list[float]) -> None:
    """A row of the table."""
    print(
        f"| {what} | {1000 * statistics.median(spent):.1f} | {1000 * min(spent):.1f} | {1000 * max(spent):.1f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
