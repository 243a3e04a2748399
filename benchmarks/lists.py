"""A page of machines, by REST and as HTML, of 50, 500, 5,000 and 50,000; queries counted and time taken, in process.

    .venv/bin/python -m benchmarks.lists [--sizes 50,500,5000,50000] [--rounds 40]

Starts a private PostgreSQL and Redis, fills one tenant by bulk insert, and asks for the first page and for one from the middle,
in turn over the sizes' databases-to-be: each size is reached by adding to the one before. Times are of the whole request through
Django's middleware (no network). Prints a table in Markdown; ``benchmarks/README.md`` keeps the results.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin" / "lib"))
from tests.support import services


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="50,500,5000,50000")
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    with services.provide():
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
        import django

        django.setup()
        from django.core.management import call_command
        from django.test.utils import setup_test_environment

        setup_test_environment()
        call_command("migrate", interactive=False, verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        measure([int(size) for size in given.sizes.split(",")], given.rounds)


def measure(sizes: list[int], rounds: int) -> None:
    """One line a size and way."""
    from django.db import connection
    from django.test import Client

    from tests import factories
    from tests.factories import House

    house: House = factories.tenant_with_owner()
    factories.host_up()
    client = Client()
    client.force_login(house.owner)
    bearer = {"Authorization": f"Bearer {house.token}"}
    print("| machines | way | queries | p50 ms | p90 ms | KiB |\n| --- | --- | --- | --- | --- | --- |")
    queries: list[str] = []

    def count(execute: Any, sql: str, *rest: Any) -> Any:
        queries.append(sql)
        return execute(sql, *rest)

    there = 0
    for size in sizes:
        fill(house.tenant, there, size)
        there = size
        cursor = client.get(f"{house.url}/guests?limit=50", headers=bearer).json()["next"]
        middle = f"&cursor={cursor}" if cursor else ""
        ways = {
            "REST, first page of 50": (f"{house.url}/guests?limit=50", bearer),
            "REST, next page of 50": (f"{house.url}/guests?limit=50{middle}", bearer),
            "HTML page": (f"/t/{house.tenant.slug}/machines/", {}),
        }
        for way, (url, headers) in ways.items():
            client.get(url, headers=headers)
            queries.clear()
            with connection.execute_wrapper(count):
                answer = client.get(url, headers=headers)
            assert answer.status_code == 200, (way, answer.status_code)
            times = []
            for _round in range(rounds):
                began = time.perf_counter()
                client.get(url, headers=headers)
                times.append(1000 * (time.perf_counter() - began))
            p90 = statistics.quantiles(times, n=10)[-1]
            print(
                f"| {size} | {way} | {len(queries)} | {statistics.median(times):.1f} | {p90:.1f} | "
                f"{len(answer.content) / 1024:.0f} |",
                flush=True,
            )


def fill(tenant: Any, first: int, last: int) -> None:
    """Machines as they would stand, by bulk insert: the services would take hours."""
    from django.utils import timezone

    from tenants.scoping import tenant_scope
    from tests import factories
    from vms.models import Address, Flavor, Guest, Host, Image, Network, Port, StorageClass, Subnet, Volume
    from vms.services.networks import mac_of

    with tenant_scope(tenant):
        flavor = Flavor.objects.first() or factories.flavor()
        image = Image.objects.first() or factories.image()
        host = Host.objects.first()
        network = Network.objects.first() or Network.objects.create(tenant=tenant, name="bench", is_default=True)
        subnet, _new = Subnet.objects.get_or_create(
            tenant=tenant, network=network, cidr="10.200.0.0/15", defaults={"gateway": "10.200.0.1"}
        )
        storage = StorageClass.objects.get(is_default=True)
        guests = [
            Guest(
                tenant=tenant,
                name=f"machine-{number:06}",
                flavor=flavor,
                image=image,
                host=host,
                vcpus=1,
                memory_mib=192,
                disk_gib=1,
                want_power="running",
                seen_power="running" if number % 3 else "stopped",
                built_at=timezone.now(),
            )
            for number in range(first, last)
        ]
        Guest.objects.bulk_create(guests, batch_size=2000)
        ips = [f"10.{200 + n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(first + 10, last + 10)]
        ports = [
            Port(tenant=tenant, network=network, guest=guest, mac=mac_of(ip))
            for guest, ip in zip(guests, ips, strict=True)
        ]
        Port.objects.bulk_create(ports, batch_size=2000)
        Address.objects.bulk_create(
            [Address(tenant=tenant, subnet=subnet, port=port, ip=ip) for port, ip in zip(ports, ips, strict=True)],
            batch_size=2000,
        )
        Volume.objects.bulk_create(
            [
                Volume(tenant=tenant, name="root", guest=g, image=image, storage_class=storage, size_gib=1)
                for g in guests
            ],
            batch_size=2000,
        )
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


if __name__ == "__main__":
    main()
