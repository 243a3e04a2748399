"""Signing in and lists while one of two hosts is frozen, beside the same with both well; round by round in one portal.

    .venv/bin/python -m benchmarks.frozen --state STATE --lab DIR [--rounds 5] [--cycles 10]

STATE is that of a running portal whose first host is host1 of the lab in DIR, which has a host2 as well:

    tests/lab/lab --dir DIR up 2
    bin/up --state STATE --libvirt-uri "$(tests/lab/lab --dir DIR uri host1)" --detach

Enrols host2 and gives the first project 50 machines that stand in the database alone, half of them on each host: throw the portal
away afterwards. A round asks while both hosts are well; stops host1's libvirtd (SIGSTOP: connections stay open and nothing
answers), has the portal test that host, so that a worker hangs on it, and asks at once; waits until the portal knows that it is
down, and asks again; lets it go on and waits until it is up. A cycle of asking is one sign-in through the form, up to the page
it leads to, and three times each list; there is one a second, since sign-ins are limited to 60 a minute. Prints a table in
Markdown; ``benchmarks/README.md`` keeps the results.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin" / "lib"))
from benchmarks.asking import Browser, cpu_seconds, load
from benchmarks.machines import fill
from launcher.installation import Installation
from launcher.processes import Supervisor, await_condition
from tests.lab.hosts import Host, Lab

MACHINES: Final = 50
LISTS_A_CYCLE: Final = 3
CYCLE_S: Final = 1.05
NOTICED_S: Final = 120.0

Times = defaultdict[tuple[str, str], list[tuple[float, float]]]
"""Seconds of every asking, passed and spent by the web process, by what was asked for and how the host was."""


class Portal:
    """A running portal, as the owner of its first project and its operator know it."""

    def __init__(self, state: Path) -> None:
        self.web = Supervisor(Installation(state)).pids()["web"]
        first = json.loads((state / "first-run.json").read_text())
        self.url, self.slug = first["url"], first["tenant"]["slug"]
        self.email, self.password = (first["tenant"]["owner"][name] for name in ("email", "password"))
        self.owner = {"Authorization": f"Bearer {first['tenant']['owner']['token']}"}
        self.operator = Browser(self.url, Authorization=f"Bearer {first['operator']['token']}")

    def hosts(self) -> list[dict[str, Any]]:
        """As REST shows them, the first enrolled first."""
        found: list[dict[str, Any]] = json.loads(self.operator.get("/api/v1/hosts").body)["items"]
        return sorted(found, key=lambda host: str(host["id"]))

    def await_state(self, host_id: str, state: str) -> None:
        """Until the portal says so of the host."""
        if not await_condition(
            lambda: any(host["id"] == host_id and host["state"] == state for host in self.hosts()),
            timeout_s=NOTICED_S,
            interval_s=0.5,
        ):
            raise RuntimeError(f"the host did not become {state}")

    def enrol(self, uri: str) -> None:
        """Take a second host in, and wait until it is up."""
        answer = self.operator.ask("/api/v1/hosts", body={"uri": uri, "name": "second"})
        if answer.status != 202:
            raise RuntimeError(f"not enrolled: {answer.body!r}")
        if not await_condition(lambda: [h["state"] for h in self.hosts()] == ["up", "up"], timeout_s=NOTICED_S):
            raise RuntimeError("the second host did not come up")


def main() -> None:
    """Prepare, alternate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=10)
    given = parser.parse_args()
    portal, lab = Portal(given.state), Lab(given.lab)
    lab.host("host1").thaw()  # an earlier run may have been cut short
    if len(portal.hosts()) == 1:
        portal.enrol(lab.host("host2").uri)
        machines(given.state, portal.slug)
    before, times = load(), Times(list)
    for turn in range(given.rounds):
        one_round(portal, lab.host("host1"), times, cycles=given.cycles)
        print(f"round {turn + 1}: {load()}", flush=True)
    print(f"\n{given.rounds} rounds of {given.cycles} cycles, {before} before and {load()} after\n")
    report(times)


def machines(state: Path, slug: str) -> None:
    """Half of them on each host, switched off, in the portal's own database."""
    os.environ.update(Installation(state).environment())
    import django

    django.setup()
    from django.db import connection

    from tenants.models import Tenant
    from vms.models import Host as Row

    fill(Tenant.objects.get(slug=slug), MACHINES, hosts=list(Row.objects.order_by("id")), running=False)
    connection.close()


def one_round(portal: Portal, frozen: Host, times: Times, *, cycles: int) -> None:
    """Well, just frozen, and known to be down; the host is well again whatever happens."""
    host_id = portal.hosts()[0]["id"]
    portal.await_state(host_id, "up")
    ask(portal, times, "well", cycles=cycles)
    frozen.freeze()
    try:
        portal.operator.ask(f"/api/v1/hosts/{host_id}/test", body={})
        ask(portal, times, "just frozen", cycles=cycles)
        portal.await_state(host_id, "down")
        ask(portal, times, "known to be down", cycles=cycles)
    finally:
        frozen.thaw()


def ask(portal: Portal, times: Times, how: str, *, cycles: int) -> None:
    """So many cycles, one a second; the session of each sign-in reads the pages of its cycle."""
    script = Browser(portal.url, **portal.owner)
    for _cycle in range(cycles):
        began = time.monotonic()
        person = Browser(portal.url)
        lists = {
            "machines, HTML": partial(person.get, f"/t/{portal.slug}/machines/"),
            "machines, REST": partial(script.get, f"/api/v1/tenants/{portal.slug}/guests?limit=50"),
            "operations, REST": partial(script.get, f"/api/v1/tenants/{portal.slug}/operations?limit=50"),
        }
        times["sign in", how].append(timed(portal.web, partial(person.sign_in, portal.email, portal.password)))
        for what, deed in [*lists.items()] * LISTS_A_CYCLE:
            times[what, how].append(timed(portal.web, deed))
        time.sleep(max(0.0, CYCLE_S - (time.monotonic() - began)))


def timed(web: int, deed: Callable[[], object]) -> tuple[float, float]:
    """Seconds that passed, and seconds of CPU that the process ``web`` spent."""
    cpu, clock = cpu_seconds(web), time.perf_counter()
    deed()
    return time.perf_counter() - clock, cpu_seconds(web) - cpu


def report(times: Times) -> None:
    """Least and median of each, and the median of CPU; the ratios are to the same with both hosts well."""
    print("| what | host1 | asked | least ms | median ms | CPU ms | least, ratio | median, ratio | CPU, ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (what, how), asked in sorted(times.items(), key=lambda item: item[0][0]):
        figures, well = figures_of(asked), figures_of(times[what, "well"])
        ratios = " | ".join(f"{figure / of:.2f}" for figure, of in zip(figures, well, strict=True))
        shown = " | ".join(f"{1000 * figure:.1f}" for figure in figures)
        print(f"| {what} | {how} | {len(asked)} | {shown} | {ratios} |")


def figures_of(asked: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Least and median of the time passed, median of the CPU spent; seconds."""
    passed, spent = zip(*asked, strict=True)
    return min(passed), statistics.median(passed), statistics.median(spent)


if __name__ == "__main__":
    main()
