"""Admissions a second at 1, 10 and 50 clients, on one tenant and on many; too many let in, and refusals without a reason.

    .venv/bin/python -m benchmarks.quota [--admissions 600]

Starts a private PostgreSQL. An admission is a transaction of ``quota_reserve`` with all that a machine asks for (sixteen
resources, a day's rate among them), committed; clients are threads with a connection each. "Bare" is one ``UPDATE`` of one row
and its commit by the same clients, as the least that any exact counter costs. Limits leave room for four fifths of what is asked,
so the edge is met: exactly the limit is to be let in. Prints a table in Markdown; ``benchmarks/README.md`` keeps the results.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin" / "lib"))
from tests.support import services

CLIENTS = (1, 10, 50)
MACHINE = {
    "guests": 1, "running_guests": 1, "vcpus": 2, "memory_mib": 2048, "disk_gib": 10, "disk_gib:standard": 10, "volumes": 1,
    "ports": 1, "addresses": 1, "guest_creates_per_day": 1, "guest_vcpus": 2, "guest_memory_mib": 2048, "guest_disk_gib": 10,
    "guest_ports": 1, "guest_volumes": 1, "networks": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """One round: how long it took, how many were let in and refused, how many should not have been."""

    seconds: float
    let_in: int
    refused: int
    over: int
    false: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--admissions", type=int, default=600, help="asked for in each round")
    given = parser.parse_args()
    with services.provide():
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
        import django

        django.setup()
        from django.conf import settings

        settings.DATABASES["default"]["OPTIONS"]["pool"] = (
            False  # each client its own connection, however many there are
        )
        from django.core.management import call_command

        call_command("migrate", interactive=False, verbosity=0)
        print("| clients | tenants | admissions/s | bare updates/s | let in | refused | over | false refusals |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for clients in CLIENTS:
            for many in (False, True):
                if many and clients == 1:
                    continue
                line(clients, many, given.admissions // clients)


def line(clients: int, many: bool, each: int) -> None:
    """One line of the table: ``clients`` ask ``each`` times, of one tenant or of one each."""
    from tests import factories

    limit = clients * each * 4 // 5 if not many else each * 4 // 5
    count = clients if many else 1
    limits = {name: None for name in MACHINE if ":" not in name} | {"guests": limit}
    tenants = [factories.tenant_with_owner(limits=limits).tenant for _ in range(count)]
    bare = clients * each / spend([partial(update, tenants[n % count], each) for n in range(clients)])[0]
    done = admissions(tenants, clients, each, limit)
    load = os.getloadavg()[0]
    print(
        f"| {clients} | {count} | {(done.let_in + done.refused) / done.seconds:.0f} | {bare:.0f} | {done.let_in} |"
        f" {done.refused} | {done.over} | {done.false} |  <!-- load {load:.0f} -->",
        flush=True,
    )


def admissions(tenants: Sequence[Any], clients: int, each: int, limit: int) -> Outcome:
    """Every client asks ``each`` times; what each tenant's counter says against its limit."""
    from tenants.models import Quota

    work = [partial(ask, tenants[n % len(tenants)], each) for n in range(clients)]
    seconds, answers = spend(work)
    let_in = sum(answers)
    used = [Quota.objects.get(tenant=tenant, resource="guests").used for tenant in tenants]
    over = sum(max(0, n - limit) for n in used) + abs(sum(used) - let_in)
    return Outcome(seconds, let_in, clients * each - let_in, over, sum(max(0, limit - n) for n in used))


def ask(tenant: Any, times: int) -> int:
    """How many of ``times`` machines were let in."""
    from django.db import transaction

    from portal.core.errors import OverQuota
    from tenants.scoping import tenant_scope
    from tenants.services.quota import quota_reserve

    let_in = 0
    with tenant_scope(tenant):
        for _ in range(times):
            try:
                with transaction.atomic():
                    quota_reserve(tenant, MACHINE)
                let_in += 1
            except OverQuota:
                continue
    return let_in


def update(tenant: Any, times: int) -> int:
    """The least that an exact counter costs: one row, one commit."""
    from django.db.models import F

    from tenants.models import Quota

    for _ in range(times):
        Quota.objects.filter(tenant=tenant, resource="snapshots").update(used=F("used") + 1)
    return times


def spend(work: Sequence[Callable[[], int]]) -> tuple[float, list[int]]:
    """All of ``work`` at once: seconds from the common start to the last end, and what each returned."""
    from tests.support.crowd import together

    began = time.perf_counter()
    answers = together(work)
    seconds = time.perf_counter() - began
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return seconds, [answer for answer in answers if isinstance(answer, int)]


if __name__ == "__main__":
    main()
