"""What a request costs for asking whether it may: the same with the checks and without, side by side; and each check alone.

    .venv/bin/python -m benchmarks.policy [--rounds 400]

Starts a private PostgreSQL and Redis. Requests are made in this process, whole (middleware, routing, answer); each round
asks every route once with the policy and once with nothing in its place, in an order that changes. Who a token belongs to is
looked up in either. A role with tags is the dearest: it also narrows what is read. CPU is this process's own, which a busy
machine changes least. Prints two tables in Markdown; ``benchmarks/README.md`` keeps the results.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin" / "lib"))
from benchmarks.asking import load
from tests.support import services

GUESTS: Final = 50
CHECKS: Final = ("require", "may", "reaches", "visible")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=400)
    given = parser.parse_args()
    with services.provide():
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
        import django

        django.setup()
        from django.conf import settings
        from django.core.management import call_command

        settings.API_RATE_PER_MINUTE = settings.API_TENANT_RATE_PER_MINUTE = 10**6

        call_command("migrate", interactive=False, verbosity=0)
        before = load()
        routes = prepare()
        for number in range(given.rounds):
            for route in routes:
                route.ask_both(with_policy_first=number % 2 == 0)
        print(f"{given.rounds} rounds, {before} before and {load()} after\n")
        print("| request | checks | CPU ms with | without | difference | wall ms with | without | difference |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for route in routes:
            print(route)
        print("\n| alone | µs |\n| --- | --- |")
        for name, microseconds in alone():
            print(f"| {name} | {microseconds:.2f} |")


@dataclass
class Spent:
    """How long each asking took, by this process's CPU and by the clock."""

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)


@dataclass
class Route:
    """One request, asked with the policy and without."""

    name: str
    ask: Callable[[], int]
    checks: int = 0
    with_it: Spent = field(default_factory=Spent)
    without: Spent = field(default_factory=Spent)

    def ask_both(self, *, with_policy_first: bool) -> None:
        """Once each."""
        for real in (with_policy_first, not with_policy_first):
            if real:
                self._spend(self.with_it)
                continue
            with no_policy():
                self._spend(self.without)

    def _spend(self, spent: Spent) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        status = self.ask()
        spent.cpu_s.append(time.process_time() - cpu)
        spent.wall_s.append(time.perf_counter() - wall)
        if status >= 300:
            raise RuntimeError(f"{self.name}: {status}")

    def __str__(self) -> str:
        """A row of the table: medians, and the median of the differences round by round."""
        cells = [self.name, str(self.checks)]
        for real, bare in ((self.with_it.cpu_s, self.without.cpu_s), (self.with_it.wall_s, self.without.wall_s)):
            differences = [one - other for one, other in zip(real, bare, strict=True)]
            cells += [f"{1000 * statistics.median(figures):.3f}" for figures in (real, bare, differences)]
        return f"| {' | '.join(cells)} |"


@contextmanager
def no_policy() -> Iterator[None]:
    """Everybody may everything, and nothing is worked out to know it."""
    from tenants import access
    from tenants.actors import Actor
    from tenants.policy import ALL_TENANT_PERMISSIONS

    everything: Any = (ALL_TENANT_PERMISSIONS, {})
    nothing: dict[str, Any] = {
        "require": lambda self, permission, subject=None: None,
        "may": lambda self, permission, subject=None: True,
        "reaches": lambda self, permission, tags: True,
        "visible": lambda self, rows, permission=None: rows,
    }
    with mock.patch.multiple(Actor, **nothing), mock.patch.object(access, "role_reach", return_value=everything):
        yield


def checks_of(ask: Callable[[], int]) -> int:
    """How many times one request asks the policy."""
    from tenants.actors import Actor

    asked = 0

    def counting(real: Any) -> Any:
        def check(*args: Any, **named: Any) -> Any:
            nonlocal asked
            asked += 1
            return real(*args, **named)

        return check

    with mock.patch.multiple(Actor, **{name: counting(getattr(Actor, name)) for name in CHECKS}):
        ask()
    return asked


def prepare() -> list[Route]:
    """A tenant three deep with machines, a member, and one whose role holds on tagged machines only; what each asks for."""
    from tenants.policy import BUILT_IN_ROLES
    from tenants.services.quota import RESOURCES
    from tenants.services.tenants import tenant_create
    from tests import factories
    from tests.factories import House
    from tests.portal.api.rest import Rest

    no_limits: dict[str, int | None] = dict.fromkeys(RESOURCES)
    above = None
    for slug in ("root", "middle", "leaf"):
        above = tenant_create(slug=slug, name=slug, parent=above, actor=factories.desk(), limits=no_limits)
    assert above is not None
    owner = factories.user()
    factories.join(above, owner, role="owner")
    house = House(above, owner, "")
    factories.flavor("small")
    for _ in range(GUESTS):
        factories.guest(house, tags=["web"])
    routes = []
    for words, tags in (("", []), (", tagged role", ["web"])):
        _person, token = factories.member_with(above, BUILT_IN_ROLES["member"], tags=tags)
        routes += routes_of(house, Rest(token), words)
    for route in routes:
        for _ in range(5):
            route.ask()
        route.checks = checks_of(route.ask)
    return routes


def routes_of(house: Any, rest: Any, words: str) -> list[Route]:
    """What a member asks for, with their token."""
    from tenants.scoping import tenant_scope
    from tests import factories
    from vms.models import Guest

    with tenant_scope(house.tenant):
        guest = Guest.objects.all()[0]
    names = iter(range(10**9))

    def key() -> int:
        name = f"k{next(names)}-{rest.headers['Authorization'][-8:].lower()}"
        made = rest.post(f"{house.url}/ssh-keys", {"name": name, "public_key": factories.public_key()})
        rest.ask("DELETE", f"{house.url}/ssh-keys/{made.json['id']}")
        return int(made.status)

    return [
        Route(f"a tenant{words}", lambda: rest.get(house.url).status),
        Route(f"a machine{words}", lambda: rest.get(f"{house.url}/guests/{guest.pk}").status),
        Route(f"{GUESTS} machines{words}", lambda: rest.get(f"{house.url}/guests?limit={GUESTS}").status),
        Route(f"a key made and removed{words}", key),
    ]


def alone() -> Iterator[tuple[str, float]]:
    """Each check by itself, in µs: the best of seven."""

    from portal.core.errors import Forbidden
    from tenants.access import _reach, actor_for_user
    from tenants.models import Member, Tenant
    from tenants.policy import Permission
    from tenants.scoping import tenant_scope
    from vms.models import Guest

    tenant = Tenant.objects.select_related("parent__parent").get(slug="leaf")
    with tenant_scope(tenant):
        member = Member.objects.select_related("role", "user").exclude(role__tags=[]).get()
        guest = Guest.objects.all()[0]
        guest.tags_known(guest.tag_names())
        bare = Guest.objects.get(pk=guest.pk)
        actor = actor_for_user(member.user, tenant, via="token")
        assert actor is not None

        def refused() -> None:
            with suppress(Forbidden):
                actor.require(Permission.MEMBER_MANAGE)

        yield "an actor's permissions, from a role with tags, three deep", best(lambda: _reach(member.role, tenant))
        yield "require, of the tenant", best(lambda: actor.require(Permission.KEY_MANAGE))
        yield "require, of a machine that wears the tag", best(lambda: actor.require(Permission.GUEST_POWER, guest))
        yield (
            "the same, and the machine's tags are read for it",
            best(lambda: actor.require(Permission.GUEST_POWER, bare)),
        )
        yield "require, refused", best(refused)
        yield "visible, a list narrowed to tags", best(lambda: actor.visible(Guest.objects.all()))


def best(check: Callable[[], Any]) -> float:
    """µs of one call."""
    return 1e6 * min(timeit.repeat(check, number=500, repeat=7)) / 500


if __name__ == "__main__":
    main()
