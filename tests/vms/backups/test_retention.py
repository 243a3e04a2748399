"""How many backups stay is exact, whatever the moments, the time zone, or the order in which counts are given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vms.services.backups.retention import KEPT, Keep, kept

NEWEST = datetime(2026, 11, 23, 1, tzinfo=UTC)
DAYS = [NEWEST - timedelta(days=day) for day in range(400)]
HOURS = [NEWEST - timedelta(hours=hour) for hour in range(100)]


@pytest.mark.parametrize(
    ("moments", "keep", "stay"),
    [
        pytest.param(DAYS, Keep(last=3), {0, 1, 2}, id="the last three"),
        pytest.param(DAYS, Keep(), {0}, id="the newest always"),
        pytest.param([], Keep(last=3), set(), id="of none"),
        pytest.param(HOURS, Keep(daily=2), {0, 2}, id="of each day the last one"),
        pytest.param(HOURS, Keep(hourly=3), {0, 1, 2}, id="of each hour"),
        pytest.param(DAYS, Keep(weekly=3), {0, 1, 8}, id="of each week, which ends on Sunday"),
        pytest.param(DAYS, Keep(monthly=3), {0, 23, 54}, id="of each month"),
        pytest.param(DAYS, Keep(last=2, daily=3, weekly=2, monthly=2), {0, 1, 2, 23}, id="one may count for several"),
        pytest.param([NEWEST, NEWEST - timedelta(days=90)], Keep(daily=2), {0, 1}, id="days without any count for nothing"),
    ],
)  # fmt: skip
def test_so_many_stay(moments: list[datetime], keep: Keep, stay: set[int]) -> None:
    assert kept(moments, keep, "UTC") == stay


@pytest.mark.parametrize("name", KEPT)
def test_a_count_is_exact(name: str) -> None:
    assert len(kept(DAYS, Keep(**{name: 5}), "UTC")) == 5


def test_days_are_those_of_the_schedules_clocks() -> None:
    moments = [datetime(2026, 11, 23, hour, 30, tzinfo=UTC) for hour in (23, 22)]

    assert kept(moments, Keep(daily=2), "UTC") == {0}
    assert kept(moments, Keep(daily=2), "Asia/Kolkata") == {0}
    assert kept(moments, Keep(daily=2), "Europe/Berlin") == {0, 1}, "half past midnight, and half past eleven"


def test_an_hour_that_the_clocks_show_twice_is_two() -> None:
    moments = [datetime(2026, 10, 25, hour, tzinfo=UTC) for hour in (1, 0)]

    assert kept(moments, Keep(hourly=2), "Europe/Berlin") == {0, 1}
