"""P-G1 down a tree of tenants, and nothing that crosses anything else's locks: exact, and never a deadlock."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from django.db import transaction

from portal.core.clock import now
from portal.core.errors import Conflict, OverQuota
from tenants.models import Quota, RateUse, Tenant
from tenants.scoping import tenant_scope
from tenants.services.quota import (
    quota_release,
    quota_request_approve,
    quota_request_make,
    quota_reserve,
    quota_set,
    quota_verify,
)
from tenants.services.quota.resources import RATE_WINDOW
from tenants.services.tenants import tenant_create
from tests import factories
from tests.factories import House
from tests.support.crowd import together
from vms.models import Guest
from vms.services.guests import Observation, guest_create, guest_delete, guest_power, guest_record_observation
from vms.services.networks import network_create
from vms.specs import GuestSpec, NetworkWish
from vms.states import Power

pytestmark = pytest.mark.django_db(transaction=True)
CLIENTS, LIMIT = 50, 10
numbers = itertools.count(1)
ROUNDS = [20, pytest.param(1000, marks=pytest.mark.long)]


def used(tenant: Tenant, resource: str = "guests") -> int:
    return Quota.objects.get(tenant=tenant, resource=resource).used


def reserve(tenant: Tenant, **amounts: int) -> None:
    with tenant_scope(tenant), transaction.atomic():
        quota_reserve(tenant, amounts)


def release(tenant: Tenant, **amounts: int) -> None:
    with tenant_scope(tenant), transaction.atomic():
        quota_release(tenant, amounts)


def child(parent: Tenant, slug: str, limit: int | None = None) -> Tenant:
    return tenant_create(slug=slug, name=slug, parent=parent, actor=factories.desk(), limits={"guests": limit})


def refusals(answers: list[Exception | None]) -> int:
    """How many were told that the quota is used up; anything else is a failure."""
    refused = [answer for answer in answers if answer is not None]
    assert {type(answer) for answer in refused} <= {OverQuota}, Counter(map(repr, refused))
    return len(refused)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_at_the_edge_exactly_as_many_as_fit_get_in(rounds: int) -> None:
    tenant = factories.tenant_with_owner(limits={"guests": LIMIT}).tenant

    for _ in range(rounds):
        answers = together([lambda: reserve(tenant, guests=1)] * CLIENTS)

        assert (refusals(answers), used(tenant)) == (CLIENTS - LIMIT, LIMIT)
        release(tenant, guests=LIMIT)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_at_the_roots_edge_three_levels_down_exactly_as_many_as_fit_get_in(rounds: int) -> None:
    root = factories.tenant_with_owner("root", limits={"guests": LIMIT}).tenant
    middles = [child(root, f"middle-{n}", 7) for n in range(2)]
    leaves = [child(middle, f"{middle.slug}-leaf-{n}", 6) for middle in middles for n in range(2)]
    everywhere = [root, *middles, *leaves]
    asked = list(itertools.islice(itertools.cycle(everywhere), CLIENTS))

    for _ in range(rounds):
        answers = together([partial(reserve, tenant, guests=1) for tenant in asked])

        assert (refusals(answers), used(root)) == (CLIENTS - LIMIT, LIMIT)
        got = Counter(tenant.pk for tenant, answer in zip(asked, answers, strict=True) if answer is None)
        for middle in middles:
            below = [leaf for leaf in leaves if leaf.parent_id == middle.pk]
            assert used(middle) == got[middle.pk] + sum(got[leaf.pk] for leaf in below) <= 7
            assert all(used(leaf) == got[leaf.pk] <= 6 for leaf in below)
        for tenant in everywhere:
            if got[tenant.pk]:
                release(tenant, guests=got[tenant.pk])
        assert used(root) == 0


@pytest.mark.parametrize("rounds", ROUNDS)
def test_at_the_edge_of_a_rate_exactly_as_many_as_the_day_has_left_get_in(rounds: int) -> None:
    """Ten creations a day: each round some of the last day's have left its window, and so many get in."""
    parent = factories.tenant_with_owner("parent").tenant
    tenants = [parent, *(child(parent, f"child-{n}") for n in range(2))]
    Quota.objects.update(limit=None)
    Quota.objects.filter(tenant=parent, resource="guest_creates_per_day").update(limit=LIMIT)
    asked = list(itertools.islice(itertools.cycle(tenants), CLIENTS))
    chosen = random.Random(0)
    left = LIMIT

    for _ in range(rounds):
        answers = together([partial(reserve, tenant, guest_creates_per_day=1) for tenant in asked])

        assert refusals(answers) == CLIENTS - left
        uses = RateUse.objects.filter(tenant=parent, at__gt=now() - RATE_WINDOW).order_by("at")
        assert uses.count() == LIMIT
        left = chosen.randint(0, LIMIT)
        moments = [use.at for use in uses[:left]]
        RateUse.objects.filter(at__in=moments).update(at=now() - RATE_WINDOW)


def test_the_first_disks_of_a_class_make_one_row_between_them() -> None:
    parent = factories.tenant_with_owner().tenant
    children = [child(parent, f"child-{n}") for n in range(2)]
    amounts = {"disk_gib": 1, "disk_gib:fast": 1}

    answers = together([lambda t=t: reserve(t, **amounts) for t in [parent, *children] * 8])

    assert answers == [None] * 24
    assert [used(t, "disk_gib:fast") for t in (parent, *children)] == [24, 8, 8]


class Bustle:
    """Everything that moves counters, in one house; what the present state forbids is no failure, a full quota is."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.flavor, self.image = factories.flavor("small"), factories.image()
        self.standing = [factories.guest(house) for _ in range(4)]

    def work(self) -> list[Callable[[], None]]:
        first, second, third, fourth = self.standing
        return [
            *[self.create, self.wire] * 4,
            *[partial(self.stop, guest) for guest in (first, second)],
            *[partial(self.delete, guest) for guest in (second, third)],
            *[partial(self.observe, guest) for guest in (first, second, third, fourth)],
            self.limit,
            self.ask,
        ]

    def inside(self, work: Callable[[], object]) -> None:
        with tenant_scope(self.house.tenant):
            try:
                work()
            except Conflict as error:
                if isinstance(error, OverQuota):
                    raise

    def create(self) -> None:
        spec = GuestSpec(name=f"new-{next(numbers)}", flavor=self.flavor, image=self.image)
        self.inside(lambda: guest_create(self.house.tenant, spec, actor=self.house.actor))

    def wire(self) -> None:
        name = f"net-{next(numbers)}"
        self.inside(lambda: network_create(self.house.tenant, NetworkWish(name=name), actor=self.house.actor))

    def stop(self, guest: Guest) -> None:
        self.inside(lambda: guest_power(guest, "stop", actor=self.house.actor))

    def delete(self, guest: Guest) -> None:
        self.inside(lambda: guest_delete(guest, actor=self.house.actor))

    def observe(self, guest: Guest) -> None:
        for seen in (Power.STOPPED, Power.RUNNING, Power.PAUSED):
            guest_record_observation(guest.pk, Observation(seen), host=guest.host)

    def limit(self) -> None:
        limits = {"guests": 1000, "vcpus": 1000}
        self.inside(lambda: quota_set(self.house.tenant, limits, soft={"guests": 3}, actor=factories.desk()))

    def ask(self) -> None:
        with tenant_scope(self.house.tenant):
            request = quota_request_make(self.house.tenant, {"volumes": 10**6}, reason="x", actor=self.house.actor)
        quota_request_approve(request, actor=factories.desk())


def test_whatever_is_done_at_once_nothing_waits_in_a_circle_and_the_counters_hold() -> None:
    """Creating, stopping, deleting, observing, adding networks, changing limits and granting, in a parent and its child."""
    reseller = factories.tenant_with_owner("reseller")
    customer = House(child(reseller.tenant, "customer"), reseller.owner, "")
    factories.join(customer.tenant, reseller.owner, role="owner")
    Quota.objects.update(limit=None)
    Quota.objects.filter(resource="volumes").update(limit=10**5)
    factories.host_up()
    houses = [Bustle(reseller), Bustle(customer)]

    answers = together([work for pair in zip(*(house.work() for house in houses), strict=True) for work in pair])

    assert [answer for answer in answers if answer is not None] == []
    assert quota_verify() == []
