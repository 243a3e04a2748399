"""Which limit binds at which moment: hard, soft with its grace, granted until a date; per machine, per day, per class."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from portal.core.clock import now
from portal.core.errors import Conflict, Forbidden, Invalid, OverQuota
from tenants.models import Notice, Quota, QuotaRequest, RateUse, RequestState, Tenant
from tenants.scoping import tenant_scope
from tenants.services.quota import (
    Kind,
    hard_limit,
    kind_of,
    quota_foresee,
    quota_release,
    quota_request_approve,
    quota_request_decline,
    quota_request_make,
    quota_request_withdraw,
    quota_reserve,
    quota_set,
)
from tenants.services.tenants import tenant_create
from tests import factories
from tests.factories import House

pytestmark = pytest.mark.django_db


def reserve(tenant: Tenant, forced: bool = False, **amounts: int) -> None:
    with tenant_scope(tenant), transaction.atomic():
        quota_reserve(tenant, amounts, forced=forced)


def release(tenant: Tenant, **amounts: int) -> None:
    with tenant_scope(tenant), transaction.atomic():
        quota_release(tenant, amounts)


def row(tenant: Tenant, resource: str) -> Quota:
    return Quota.objects.get(tenant=tenant, resource=resource)


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner(limits={"guests": 10, "vcpus": 20})


HOUR = timedelta(hours=1)
GRACE = timedelta(days=7)


@pytest.mark.parametrize(
    ("columns", "allows"),
    [
        ({"limit": None}, None),
        ({"limit": 10}, 10),
        ({"limit": 10, "grant_limit": 15, "grant_until": HOUR}, 15),
        ({"limit": 10, "grant_limit": 15, "grant_until": -HOUR}, 10),
        ({"limit": 20, "grant_limit": 15, "grant_until": HOUR}, 20),
        ({"limit": None, "grant_limit": 15, "grant_until": HOUR}, None),
        ({"limit": 10, "soft_limit": 5}, 10),
        ({"limit": 10, "soft_limit": 5, "soft_since": -GRACE + HOUR}, 10),
        ({"limit": 10, "soft_limit": 5, "soft_since": -GRACE}, 5),
        ({"limit": None, "soft_limit": 5, "soft_since": -GRACE}, 5),
        ({"limit": 10, "soft_limit": 5, "soft_since": -GRACE, "grant_limit": 15, "grant_until": HOUR}, 15),
        ({"limit": 10, "soft_limit": 5, "soft_since": -9 * GRACE, "grant_limit": 15, "grant_until": -HOUR}, 10),
        ({"limit": 10, "soft_limit": 5, "soft_since": -9 * GRACE, "grant_limit": 15, "grant_until": -GRACE}, 5),
    ],
    ids=[
        "no limit", "a limit", "a grant", "an ended grant", "a grant below the limit", "a grant without a limit",
        "below the soft limit", "within the grace", "after the grace", "soft alone", "a grant over a soft limit",
        "the grace begins anew when a grant ends", "and ends",
    ],
)  # fmt: skip
def test_what_a_row_allows(columns: dict[str, Any], allows: int | None) -> None:
    at = now()
    when = {name: at + value if isinstance(value, timedelta) else value for name, value in columns.items()}

    assert hard_limit(Quota(resource="guests", **when), at) == allows


def test_above_a_soft_limit_whoever_may_ask_for_more_is_told_once_and_it_binds_after_the_grace(
    house: House, settings: Any
) -> None:
    looker = factories.user()
    factories.join(house.tenant, looker, role="viewer")
    with tenant_scope(house.tenant):
        quota_set(house.tenant, {}, soft={"guests": 2}, actor=factories.desk())

    reserve(house.tenant, guests=2)
    assert row(house.tenant, "guests").soft_since is None
    reserve(house.tenant, guests=1)
    reserve(house.tenant, guests=1)

    told = Notice.objects.filter(kind="quota")
    assert [notice.user for notice in told] == [house.owner]
    assert "machines" in told[0].subject
    Quota.objects.filter(tenant=house.tenant, resource="guests").update(soft_since=now() - settings.QUOTA_GRACE)
    with pytest.raises(OverQuota):
        reserve(house.tenant, guests=1)

    release(house.tenant, guests=2)

    assert row(house.tenant, "guests").soft_since is None
    reserve(house.tenant, guests=1)
    assert Notice.objects.filter(kind="quota").count() == 2


def test_a_soft_limit_is_not_above_the_limit_and_falls_with_it(house: House) -> None:
    def put(limits: dict[str, int | None], soft: dict[str, int | None]) -> None:
        with tenant_scope(house.tenant):
            quota_set(house.tenant, limits, soft=soft, actor=factories.desk())

    with pytest.raises(Invalid):
        put({}, {"guests": 11})
    with pytest.raises(Invalid):
        put({}, {"guest_vcpus": 2})
    with pytest.raises(Invalid):
        put({"guests": -1}, {})
    put({}, {"guests": 8})
    put({"guests": 5}, {})

    assert (row(house.tenant, "guests").limit, row(house.tenant, "guests").soft_limit) == (5, None)


def test_one_machine_may_be_only_so_large_at_each_level(house: House) -> None:
    child = tenant_create(slug="child", name="Child", parent=house.tenant, actor=factories.desk())
    with tenant_scope(house.tenant):
        quota_set(house.tenant, {"guest_vcpus": 4}, actor=factories.desk())

    reserve(child, guest_vcpus=4)
    with pytest.raises(OverQuota) as refusal:
        reserve(child, guests=1, guest_vcpus=5)

    assert [error.pointer for error in refusal.value.errors] == ["/quota/guest_vcpus"]
    assert row(child, "guest_vcpus").used == 0


def test_a_rate_is_counted_over_a_rolling_day_and_a_refusal_is_not(house: House) -> None:
    with tenant_scope(house.tenant):
        quota_set(house.tenant, {"guest_creates_per_day": 3}, actor=factories.desk())
    reserve(house.tenant, guests=1, guest_creates_per_day=2)
    for _ in range(3):
        with pytest.raises(OverQuota):
            reserve(house.tenant, guests=1, guest_creates_per_day=2)
    with pytest.raises(OverQuota):
        reserve(house.tenant, guests=99, guest_creates_per_day=1)

    reserve(house.tenant, guests=1, guest_creates_per_day=1)
    with pytest.raises(OverQuota):
        reserve(house.tenant, guest_creates_per_day=1)
    RateUse.objects.filter(amount=2).update(at=now() - timedelta(hours=24))
    reserve(house.tenant, guest_creates_per_day=2)

    assert sorted(RateUse.objects.values_list("amount", flat=True)) == [1, 2]
    assert row(house.tenant, "guests").used == 2


def test_a_rate_of_the_parent_bounds_its_children_together(house: House) -> None:
    with tenant_scope(house.tenant):
        quota_set(house.tenant, {"guest_creates_per_day": 3}, actor=factories.desk())
    first, second = (
        tenant_create(slug=f"c{n}", name="C", parent=house.tenant, actor=factories.desk()) for n in range(2)
    )

    reserve(first, guest_creates_per_day=2)
    with pytest.raises(OverQuota):
        reserve(second, guest_creates_per_day=2)
    reserve(second, guest_creates_per_day=1)


def test_the_disk_of_a_class_is_counted_from_its_first_use_and_limited_beside_all_disk(house: House) -> None:
    amounts = {"disk_gib": 10, "disk_gib:fast": 10}
    reserve(house.tenant, **amounts)

    fast = row(house.tenant, "disk_gib:fast")
    assert (fast.used, fast.limit) == (10, None)
    with tenant_scope(house.tenant):
        quota_set(house.tenant, {"disk_gib:fast": 15}, actor=factories.desk())
    with pytest.raises(OverQuota) as refusal:
        reserve(house.tenant, **amounts)
    assert "fast" in refusal.value.sentence
    reserve(house.tenant, **{"disk_gib": 10, "disk_gib:slow": 10})
    assert row(house.tenant, "disk_gib").used == 20


@pytest.mark.parametrize("name", ["disk_gib:", "disk_gib:a/b", "disk_gib: x", "disk_gib:" + "x" * 41, "guest_moons"])
def test_what_is_no_resource_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="unknown"):
        kind_of(name)


def test_kinds() -> None:
    assert (kind_of("guests"), kind_of("guest_ports"), kind_of("guest_creates_per_day"), kind_of("disk_gib:x")) == (
        Kind.HELD, Kind.EACH, Kind.RATE, Kind.HELD,
    )  # fmt: skip


def test_what_happened_already_is_counted_whatever_the_limit(house: House) -> None:
    reserve(house.tenant, forced=True, guests=25)

    assert row(house.tenant, "guests").used == 25
    with pytest.raises(OverQuota):
        reserve(house.tenant, guests=1)


def test_a_dry_run_says_what_the_reservation_would_and_nothing_of_siblings(house: House) -> None:
    child, sibling = (
        tenant_create(slug=f"c{n}", name="C", parent=house.tenant, actor=factories.desk(), limits={"guests": 8})
        for n in range(2)
    )
    reserve(sibling, guests=7)
    reserve(child, guests=1)

    with tenant_scope(child):
        (line,) = quota_foresee(child, {"guests": 3})

    assert (line.before, line.after, line.limit, line.above, line.is_short) == (1, 4, 3, True, True)
    with pytest.raises(OverQuota) as refusal:
        reserve(child, guests=3)
    assert refusal.value.sentence == line.refusal().sentence
    assert "7" not in refusal.value.sentence
    assert "8" not in refusal.value.sentence


class TestRequests:
    def ask(self, house: House, **wanted: int) -> QuotaRequest:
        with tenant_scope(house.tenant):
            return quota_request_make(house.tenant, wanted, reason="A sale.", actor=house.actor)

    def test_one_is_approved_in_part_and_whoever_asked_is_told(self, house: House) -> None:
        request = self.ask(house, guests=30, vcpus=60)

        request = quota_request_approve(request, limits={"guests": 20}, answer="Half of it.", actor=factories.desk())

        assert (request.state, request.given, request.until) == (RequestState.APPROVED, {"guests": 20}, None)
        assert (row(house.tenant, "guests").limit, row(house.tenant, "vcpus").limit) == (20, 20)
        (notice,) = Notice.objects.filter(user=house.owner)
        assert "raised" in notice.subject
        assert notice.text == "Half of it."
        with pytest.raises(Conflict):
            quota_request_decline(request, answer="No.", actor=factories.desk())

    def test_a_grant_ends_by_itself_and_what_runs_goes_on(self, house: House) -> None:
        request = self.ask(house, guests=12)
        quota_request_approve(request, until=now() + HOUR, actor=factories.desk())

        reserve(house.tenant, guests=12)
        Quota.objects.filter(tenant=house.tenant, resource="guests").update(grant_until=now())

        assert row(house.tenant, "guests").used == 12
        with pytest.raises(OverQuota):
            reserve(house.tenant, guests=1)
        release(house.tenant, guests=3)
        reserve(house.tenant, guests=1)
        with pytest.raises(OverQuota):
            reserve(house.tenant, guests=1)

    def test_a_grant_takes_nothing_from_one_that_has_not_ended(self, house: House) -> None:
        quota_request_approve(self.ask(house, guests=50), until=now() + 2 * HOUR, actor=factories.desk())
        less, sooner, more = (self.ask(house, guests=n) for n in (30, 60, 60))

        for request, until in ((less, 3 * HOUR), (sooner, HOUR)):
            with pytest.raises(Invalid) as refusal:
                quota_request_approve(request, until=now() + until, actor=factories.desk())
            assert [error.code for error in refusal.value.errors] == ["less_than_granted"]
        assert row(house.tenant, "guests").grant_limit == 50
        quota_request_approve(more, until=now() + 3 * HOUR, actor=factories.desk())
        assert row(house.tenant, "guests").grant_limit == 60

    def test_a_parents_grant_makes_room_for_its_child_as_long(self, house: House) -> None:
        child = tenant_create(
            slug="child", name="C", parent=house.tenant, actor=factories.desk(), limits={"guests": 50}
        )
        quota_request_approve(self.ask(house, guests=12), until=now() + HOUR, actor=factories.desk())

        reserve(child, guests=12)
        with pytest.raises(OverQuota):
            reserve(child, guests=1)

    def test_one_is_declined_in_words(self, house: House) -> None:
        request = self.ask(house, guests=30)
        with pytest.raises(Invalid):
            quota_request_decline(request, answer=" ", actor=factories.desk())

        quota_request_decline(request, answer="The rack is full.", actor=factories.desk())

        assert Notice.objects.get(user=house.owner).text == "The rack is full."
        assert row(house.tenant, "guests").limit == 10

    def test_one_is_withdrawn_and_then_nobody_grants_it(self, house: House) -> None:
        request = self.ask(house, guests=30)
        with tenant_scope(house.tenant):
            quota_request_withdraw(request, actor=house.actor)

        with pytest.raises(Conflict):
            quota_request_approve(request, actor=factories.desk())

    @pytest.mark.parametrize(
        ("wanted", "reason"),
        [({}, "x"), ({"guests": 10}, "x"), ({"moons": 5}, "x"), ({"guests": 11}, " "), ({"guests": 11}, "x" * 1001)],
        ids=["nothing", "no more than now", "unknown", "no reason", "too long"],
    )
    def test_nonsense_is_refused(self, house: House, wanted: dict[str, int], reason: str) -> None:
        with tenant_scope(house.tenant), pytest.raises(Invalid):
            quota_request_make(house.tenant, wanted, reason=reason, actor=house.actor)

    @pytest.mark.parametrize(
        "limits", [{}, {"vcpus": 30}, {"guests": 10}, {"guests": -1}], ids=["nothing", "unasked", "no more", "negative"]
    )
    def test_an_operator_gives_more_of_what_was_asked_for_or_nothing(
        self, house: House, limits: dict[str, int]
    ) -> None:
        request = self.ask(house, guests=30)

        with pytest.raises(Invalid):
            quota_request_approve(request, limits=limits, actor=factories.desk())
        with pytest.raises(Invalid):
            quota_request_approve(request, until=now(), actor=factories.desk())

    def test_only_so_many_wait_and_only_so_many_are_kept(self, house: House, settings: Any) -> None:
        settings.CAPS = {**settings.CAPS, "quota_requests": 2}
        first = self.ask(house, guests=30)
        self.ask(house, guests=30)
        with pytest.raises(Conflict):
            self.ask(house, guests=30)
        with tenant_scope(house.tenant):
            quota_request_withdraw(first, actor=house.actor)
        self.ask(house, guests=30)

    def test_a_viewer_asks_for_nothing_and_an_owner_grants_nothing(self, house: House) -> None:
        looker = factories.user()
        factories.join(house.tenant, looker, role="viewer")
        request = self.ask(house, guests=30)
        with tenant_scope(house.tenant):
            with pytest.raises(Forbidden):
                quota_request_make(
                    house.tenant, {"guests": 30}, reason="x", actor=factories.actor_in(house.tenant, looker)
                )
            with pytest.raises(Forbidden):
                quota_request_approve(request, actor=house.actor)
            with pytest.raises(Forbidden):
                quota_request_decline(request, answer="x", actor=house.actor)
