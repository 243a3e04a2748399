"""A page of 50 machines or volumes, as HTML and by REST, for projects of 50, 500, 5,000 and 50,000; side by side in one portal.

    .venv/bin/python -m benchmarks.lists [--of machines|volumes] [--sizes 50,500,5000,50000] [--rounds 60]
        [--database postgresql|sqlite]

Starts a private database and Redis and the portal's own web process (uvicorn, as ``bin/up`` runs it), fills one project for each
size by bulk insert, and asks for every page of every project in turn, round after round, over one HTTP connection that stays
open. Times are of the whole request on the wire; CPU is what the web process spent on it (median), which a busy machine changes
least; queries are counted in this process, once. Prints a table in Markdown; ``benchmarks/README.md`` keeps the results.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin" / "lib"))
from benchmarks.asking import Answer, Browser, cpu_seconds, load, milliseconds
from benchmarks.machines import SUBNETS, fill
from launcher.processes import await_condition
from tests.support import services

ROOT = Path(__file__).resolve().parents[1]
NOUNS = {"machines": "guests", "volumes": "volumes"}
"""What pages call it → what REST does. Each machine has one volume."""


@dataclass
class Way:
    """One page of one project; how long each asking took, and how much of the web process's CPU."""

    size: int
    name: str
    browser: Browser
    path: str
    queries: int
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    size_bytes: int = 0

    def ask(self, web: int) -> None:
        """Once, of the process ``web``."""
        before = cpu_seconds(web)
        answer: Answer = self.browser.get(self.path)
        self.cpu_seconds.append(cpu_seconds(web) - before)
        self.seconds.append(answer.seconds)
        self.size_bytes = len(answer.body)

    def __str__(self) -> str:
        """A row of the table."""
        cpu = f"{1000 * statistics.median(self.cpu_seconds):.1f}"
        times, kib = milliseconds(self.seconds), f"{self.size_bytes / 1024:.0f}"
        return f"| {self.size} | {self.name} | {self.queries} | {times} | {cpu} | {kib} |"


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", choices=NOUNS, default="machines")
    parser.add_argument("--sizes", default="50,500,5000,50000")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    given = parser.parse_args()
    with services.private_directory() as place, socket.create_server(("127.0.0.1", 0)) as door:
        if given.database == "sqlite":
            os.environ["DATABASE_URL"] = f"sqlite:///{place}/db.sqlite3"
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
        os.environ |= {"GUESTHOUSE_PUBLIC_URL": url, "DJANGO_SETTINGS_MODULE": "portal.settings.embedded"}
        with services.provide():
            ways = prepare(url, [int(size) for size in given.sizes.split(",")], given.of)
            with served(door, place / "web.log") as web:
                for way in ways:
                    way.browser.get(way.path)
                before = load()
                for _round in range(given.rounds):
                    for way in ways:
                        way.ask(web)
    print(f"{given.database}, {given.rounds} rounds, {before} before and {load()} after\n")
    print(f"| {given.of} | way | queries | least ms | p50 ms | p90 ms | CPU ms | KiB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for way in sorted(ways, key=lambda way: (way.name, way.size)):
        print(way)


@contextmanager
def served(door: socket.socket, log: Path) -> Iterator[int]:
    """The portal's web process on a socket that is listened on already; gives its number."""
    command = [
        sys.executable, "-m", "uvicorn", "portal.asgi:application", "--fd", str(door.fileno()), "--lifespan", "off",
        "--no-access-log", "--no-server-header", "--no-proxy-headers", "--log-level", "warning",
    ]  # fmt: skip
    with log.open("wb") as written:
        web = subprocess.Popen(command, cwd=ROOT, stderr=written, pass_fds=[door.fileno()])
    try:
        browser = Browser("http://{}:{}".format(*door.getsockname()))
        if not await_condition(lambda: browser.ask("/healthz").status == 200, timeout_s=60):
            raise RuntimeError(log.read_text())
        yield web.pid
    finally:
        web.terminate()
        web.wait()


def prepare(url: str, sizes: list[int], noun: str) -> list[Way]:
    """A project of each size, and every way to ask for its list with what it asks the database."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from tests import factories

    for command in ("migrate", "collectstatic"):
        call_command(command, interactive=False, verbosity=0)
    host = factories.host_up()
    ways = []
    for size, subnet in zip(sizes, SUBNETS, strict=False):
        house = factories.tenant_with_owner()
        fill(house.tenant, size, hosts=[host], subnet=subnet)
        ways += ways_of(url, house, size, noun)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE")  # as autovacuum leaves it
    connection.close()
    return ways


def ways_of(url: str, house: Any, size: int, noun: str) -> list[Way]:
    """The list as HTML with the owner's session, and by REST with their token, its first page and the second."""
    from django.conf import settings
    from django.test import Client

    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(house.owner, backend=settings.AUTHENTICATION_BACKENDS[0])
    bearer = {"Authorization": f"Bearer {house.token}"}
    session = client.cookies[settings.SESSION_COOKIE_NAME]
    page = f"/t/{house.tenant.slug}/{noun}/"
    first = f"{house.url}/{NOUNS[noun]}?limit=50&sort=name"
    after = client.get(first, headers=bearer).json()["next"]
    ways = [
        Way(size, "HTML", Browser(url), page, counted(client, page)),
        Way(size, "REST, first page", Browser(url, **bearer), first, counted(client, first, bearer)),
    ]
    ways[0].browser.cookies[session.key] = session.value
    if after:
        path = f"{first}&cursor={after}"
        ways.append(Way(size, "REST, next page", Browser(url, **bearer), path, counted(client, path, bearer)))
    return ways


def counted(client: Any, path: str, headers: dict[str, str] | None = None) -> int:
    """How many queries one answer takes, once warm."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.get(path, headers=headers)
    with CaptureQueriesContext(connection) as queries:
        client.get(path, headers=headers)
    return len(queries)


if __name__ == "__main__":
    main()
