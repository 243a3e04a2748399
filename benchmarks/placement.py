"""Placements a second with 10, 100 and 1,000 hosts and ten machines on each, by 1 and 10 clients; and the choice alone.

    .venv/bin/python -m benchmarks.placement [--placements 60] [--hosts 10,100,1000]

Starts a private PostgreSQL. A placement is a transaction of ``hosts_take`` for a machine of its own project and the row that
claims the room, committed, with the 20 ms that the rest of making a machine takes (``--rest``) while its host is held. "All held"
is the same with every host's row locked before the choice: the plain way never to sell the last room twice. "Choice" is
``placement.choose`` on rooms that were read already, the processor's part. Prints a table in Markdown; ``benchmarks/README.md``
keeps the results.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin" / "lib"))
from benchmarks.machines import SUBNETS, fill
from benchmarks.quota import spend
from tests.support import services

CLIENTS = (1, 10)
EACH = 10
"""Machines that every host has before."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--placements", type=int, default=60, help="of each way in each line")
    parser.add_argument("--hosts", default="10,100,1000")
    parser.add_argument("--rest", type=float, default=0.02, help="seconds that a host is held after it was chosen")
    given = parser.parse_args()
    with services.provide():
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
        import django

        django.setup()
        from django.conf import settings

        settings.DATABASES["default"]["OPTIONS"]["pool"] = False
        from django.core.management import call_command

        call_command("migrate", interactive=False, verbosity=0)
        print("| hosts | machines | choice, /s | clients | placements/s | all held, /s | ratio |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        hosts: list[Any] = []
        for number, amount in enumerate(map(int, given.hosts.split(","))):
            hosts = more_hosts(hosts, amount, SUBNETS[number])
            line(hosts, given.placements, given.rest)


def more_hosts(hosts: list[Any], amount: int, subnet: str) -> list[Any]:
    """So many hosts in all, each with ``EACH`` machines that have claimed their room."""
    from tenants.scoping import tenant_scope
    from tests import factories
    from vms.models import Guest, HostClaim

    fresh = [factories.host_up(f"h{number:04}") for number in range(len(hosts), amount)]
    tenant = factories.tenant_with_owner().tenant
    fill(tenant, len(fresh) * EACH, hosts=fresh, subnet=subnet)
    with tenant_scope(tenant):
        claims = [
            HostClaim(tenant=tenant, host_id=host, guest_id=guest, generation=1, vcpus=1, memory_mib=192, disk_gib=1)
            for guest, host in Guest.objects.values_list("pk", "host")
        ]
        HostClaim.objects.bulk_create(claims, batch_size=2000)
    return hosts + fresh


def line(hosts: Sequence[Any], placements: int, rest_s: float) -> None:
    """Lines of the table for so many hosts; both ways in turn, twice, for each number of clients."""
    alone = f"{choices_a_second():.0f}"
    for clients in CLIENTS:
        each = max(1, placements // clients // 2)
        seconds = {True: 0.0, False: 0.0}
        for hold_all in (False, True, True, False):
            work = [partial(place, machines(each), hold_all, rest_s) for _ in range(clients)]
            seconds[hold_all] += spend(work)[0]
        mine, plain = (2 * clients * each / seconds[way] for way in (False, True))
        print(
            f"| {len(hosts)} | {len(hosts) * EACH} | {alone} | {clients} | {mine:.1f} | {plain:.1f} | {mine / plain:.1f} |"
            f"  <!-- load {os.getloadavg()[0]:.0f} -->",
            flush=True,
        )


def choices_a_second() -> float:
    """How often a host is chosen a second, once what is so has been read."""
    from vms.placement import Need, choose
    from vms.selectors.rooms import host_rooms

    rooms, began, done = host_rooms(), time.perf_counter(), 0
    while time.perf_counter() - began < 1:
        choose(rooms, Need(1, 192, 1))
        done += 1
    return done / (time.perf_counter() - began)


def machines(amount: int) -> list[Any]:
    """Machines of a project of their own that have no room yet."""
    from tenants.scoping import tenant_scope
    from tests import factories
    from vms.models import Guest

    house = factories.tenant_with_owner()
    flavor, image = factories.flavor("bench", memory_mib=192), factories.image("bench")
    guests = [
        Guest(tenant=house.tenant, name=f"m{number}", flavor=flavor, image=image, vcpus=1, memory_mib=192, disk_gib=1)
        for number in range(amount)
    ]
    with tenant_scope(house.tenant):
        return Guest.objects.bulk_create(guests)


def place(guests: Sequence[Any], hold_all: bool, rest_s: float) -> int:
    """Find each of them a host and claim it; how many were placed."""
    from django.db import connection, transaction

    from tenants.scoping import tenant_scope
    from vms.models import Host, HostClaim
    from vms.placement import Need
    from vms.services.placing import hosts_take

    for guest in guests:
        with tenant_scope(guest.tenant), transaction.atomic():
            if hold_all:
                list(Host.objects.select_for_update().order_by("pk").values_list("pk"))
            (host,) = hosts_take(Need(1, 192, 1))
            HostClaim.objects.create(
                tenant=guest.tenant, host=host, guest=guest, generation=1, vcpus=1, memory_mib=192, disk_gib=1
            )
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(%s)", [rest_s])
    return len(guests)


if __name__ == "__main__":
    main()
