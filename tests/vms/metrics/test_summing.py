"""Minutes become quarters and hours: exactly, once, however often and late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.factories import House
from tests.support.crowd import together
from vms.models import Guest, MetricPoint
from vms.models.metrics import AMOUNTS
from vms.services.metrics import metric_points_write, metrics_forget, metrics_roll_up

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
FIRST = int(START.timestamp()) // 60


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner()


@pytest.fixture
def guest(house: House) -> Guest:
    return factories.guest(house)


def write(guest: Guest, minutes: range, **amounts: int) -> None:
    with every_tenant(why="test"):
        metric_points_write([factories.metric_point(guest, minute=FIRST + minute, **amounts) for minute in minutes])


def sums(size: int) -> dict[int, dict[str, int]]:
    """By minutes after the first."""
    with every_tenant(why="test"):
        rows = MetricPoint.objects.filter(minutes=size).order_by("minute").values("minute", *AMOUNTS)
        return {row.pop("minute") - FIRST: row for row in rows}


def after(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def test_a_quarter_is_the_sum_of_its_minutes_and_an_hour_that_of_its_quarters(guest: Guest) -> None:
    write(guest, range(60), cpu_ms=7, disk_reads=3)

    assert metrics_roll_up(at=after(63)) == 5

    assert list(sums(15)) == [0, 15, 30, 45]
    assert (sums(15)[15]["cpu_ms"], sums(15)[15]["seen_ms"]) == (15 * 7, 15 * 60_000)
    assert sums(60)[0] == {name: 4 * amount for name, amount in sums(15)[0].items()}


def test_what_is_not_over_is_not_summed_and_a_gap_stays_one(guest: Guest) -> None:
    write(guest, range(3), cpu_ms=1)
    write(guest, range(31, 40), cpu_ms=1)

    metrics_roll_up(at=after(46))

    assert {minute: row["seen_ms"] for minute, row in sums(15).items()} == {0: 180_000}
    metrics_roll_up(at=after(48))
    assert {minute: row["seen_ms"] for minute, row in sums(15).items()} == {0: 180_000, 30: 540_000}


def test_twice_and_late_come_to_the_same(guest: Guest) -> None:
    write(guest, range(200), cpu_ms=7)
    metrics_roll_up(at=after(18))
    assert metrics_roll_up(at=after(18)) == 0

    metrics_roll_up(at=after(190))  # nobody came for three hours
    once = sums(15), sums(60)
    MetricPoint._base_manager.filter(minutes__gt=1).delete()
    metrics_roll_up(at=after(190))

    assert (sums(15), sums(60)) == once
    assert list(once[0]) == list(range(0, 180, 15))
    assert list(once[1]) == [0, 60, 120]


def test_points_that_came_after_their_quarter_was_summed_are_in_it_next_time(guest: Guest) -> None:
    write(guest, range(14), cpu_ms=1)
    metrics_roll_up(at=after(17))
    write(guest, range(14, 20), cpu_ms=1)

    metrics_roll_up(at=after(33))

    assert sums(15)[0]["cpu_ms"] == 15


def test_a_clock_that_ran_ahead_for_a_while_stops_nothing(guest: Guest) -> None:
    write(guest, range(3000, 3015), cpu_ms=1)
    metrics_roll_up(at=after(3020))

    write(guest, range(60), cpu_ms=1)
    metrics_roll_up(at=after(63))

    assert list(sums(15)) == [0, 15, 30, 45, 3000]
    assert list(sums(60)) == [0]


@pytest.mark.django_db(transaction=True)
def test_two_at_once_come_to_the_same(guest: Guest) -> None:
    write(guest, range(120), cpu_ms=1)

    answers = together([lambda: metrics_roll_up(at=after(123))] * 2)

    assert [type(answer) for answer in answers] == [int, int]
    assert [row["cpu_ms"] for row in sums(15).values()] == [15] * 8
    assert [row["cpu_ms"] for row in sums(60).values()] == [60] * 2


def test_each_machine_is_summed_by_itself_and_stays_its_tenants(guest: Guest, house: House) -> None:
    others = factories.guest(factories.tenant_with_owner())
    write(guest, range(15), cpu_ms=1)
    write(others, range(15), cpu_ms=2)

    metrics_roll_up(at=after(17))

    with tenant_scope(house.tenant):
        assert list(MetricPoint.objects.filter(minutes=15).values_list("guest", "cpu_ms")) == [(guest.pk, 15)]


def test_what_is_old_goes_by_its_length(guest: Guest, settings: object) -> None:
    write(guest, range(60), cpu_ms=1)
    metrics_roll_up(at=after(63))

    metrics_forget(at=START + timedelta(hours=25, minutes=30))
    assert (len(sums(1)), len(sums(15)), len(sums(60))) == (30, 4, 1)
    metrics_forget(at=START + timedelta(days=32))
    assert (len(sums(1)), len(sums(15)), len(sums(60))) == (0, 0, 1)
    metrics_forget(at=START + timedelta(days=367))
    assert sums(60) == {}


def test_a_machine_takes_its_points_with_it(guest: Guest, house: House) -> None:
    write(guest, range(15), cpu_ms=1)
    kept = factories.guest(house)
    write(kept, range(1), cpu_ms=1)

    with tenant_scope(house.tenant):
        guest.volumes.all().delete()
        guest.delete()

        assert list(MetricPoint.objects.values_list("guest", flat=True)) == [kept.pk]
    metrics_roll_up(at=after(30))
    assert len(sums(15)) == 1
