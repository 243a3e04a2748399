"""What REST tells of what a machine used: a place for every step, and nothing where nothing was seen."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.core.clock import now
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Answer, Rest
from vms.models import Guest
from vms.selectors.metrics import cpu_sparks, metric_series
from vms.services.metrics import metric_points_write, metrics_roll_up

pytestmark = pytest.mark.django_db
ATHENS, MINUTE = ZoneInfo("Europe/Athens"), timedelta(minutes=1)
BUSY = {"cpu_ms": 30_000, "disk_read_bytes": 6000, "net_sent_packets": 90, "memory_mib_s": 6000, "memory_s": 60}


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner()


@pytest.fixture
def guest(house: House) -> Guest:
    return factories.guest(house)


def write(guest: Guest, minutes: range, **amounts: int) -> None:
    """Points so many minutes before now."""
    present = int(now().timestamp()) // 60
    with every_tenant(why="test"):
        metric_points_write([factories.metric_point(guest, minute=present - ago, **amounts) for ago in minutes])


def ask(house: House, guest: Guest, **query: Any) -> Answer:
    return Rest(house.token).get(f"{house.url}/guests/{guest.pk}/metrics?{urlencode(query)}")


def test_the_last_hour_by_default_minute_by_minute_with_null_where_nothing_was_seen(house: House, guest: Guest) -> None:
    write(guest, range(10, 20), **BUSY)

    answer = ask(house, guest)

    assert (answer.status, answer.json["guest"], answer.json["step_s"]) == (200, str(guest.pk), 60)
    points = answer.json["points"]
    assert len(points) in (60, 61)
    seen = [point for point in points if point["cpu_percent"] is not None]
    assert len(seen) == 10
    assert seen[0] == {
        "at": seen[0]["at"],
        "cpu_percent": round(50 / guest.vcpus, 2),
        "memory_used_mib": 100,
        "disk_read_bytes_per_s": 100,
        "disk_write_bytes_per_s": 0,
        "disk_read_ops_per_s": 0,
        "disk_write_ops_per_s": 0,
        "net_in_bytes_per_s": 0,
        "net_out_bytes_per_s": 0,
        "net_in_packets_per_s": 0,
        "net_out_packets_per_s": 1.5,
    }
    gone = [point for point in points if point["cpu_percent"] is None]
    assert all(set(point.values()) == {point["at"], None} for point in gone)


def test_a_machine_that_never_told_of_its_memory_has_null_there_only(house: House, guest: Guest) -> None:
    write(guest, range(5, 6), cpu_ms=600)

    (seen,) = [point for point in ask(house, guest).json["points"] if point["cpu_percent"] is not None]

    assert seen["memory_used_mib"] is None


@pytest.mark.parametrize(("days", "step_s"), [(1 / 24, 60), (1, 300), (7, 3600), (30, 7200), (365, 86400)], ids=str)
def test_without_a_step_there_are_a_few_hundred_points(house: House, guest: Guest, days: float, step_s: int) -> None:
    answer = ask(house, guest, **{"from": (now() - timedelta(days=days)).isoformat()})

    assert answer.status == 422 if days == 0 else 200
    assert answer.status == 200
    assert answer.json["step_s"] == step_s
    assert len(answer.json["points"]) <= 402


def test_long_steps_are_made_of_sums_and_the_newest_of_what_is_not_summed_yet(house: House, guest: Guest) -> None:
    write(guest, range(300), **BUSY)
    metrics_roll_up()
    since, until = now() - timedelta(minutes=240), now()

    with tenant_scope(house.tenant), CaptureQueriesContext(connection) as queries:
        fine, coarse = (metric_series(guest, since=since, until=until, step=step) for step in (1, 60))

    assert len(queries) == 2
    assert None not in fine.points
    assert None not in coarse.points
    assert {point.cpu_percent for point in (*fine.points, *coarse.points) if point} == {round(50 / guest.vcpus, 2)}
    assert coarse.start.minute == 0


@pytest.mark.parametrize(
    "query",
    [
        {"step": 61},
        {"step": 30},
        {"step": -60},
        {"step": "x"},
        {"from": "2026-01-01T00:00:00Z", "step": 60},
        {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        {"from": "0001-01-01T00:00:00Z"},
        {"to": "0001-01-01T00:00:00Z"},
        {"to": "9999-12-31T23:59:59Z"},
        {"from": "yesterday"},
        {"from": "2026-01-02T00:00:00"},
        {"since": "2026-01-02T00:00:00Z"},
    ],
    ids=str,
)
def test_what_cannot_be_answered_is_refused(house: House, guest: Guest, query: dict[str, Any]) -> None:
    assert ask(house, guest, **query).status == 422


def test_nobody_sees_what_anothers_machine_uses(house: House, guest: Guest) -> None:
    write(guest, range(5), **BUSY)
    stranger = factories.tenant_with_owner()

    assert ask(stranger, guest).status == 404
    with tenant_scope(stranger.tenant):
        assert cpu_sparks([guest.pk]) == {}


def test_a_role_that_reaches_only_tagged_machines_reaches_only_their_use(house: House, guest: Guest) -> None:
    _person, token = factories.member_with(house.tenant, [Permission.GUEST_VIEW], tags=["web"])

    assert Rest(token).get(f"{house.url}/guests/{guest.pk}/metrics").status == 404


def test_the_last_hour_of_many_machines_is_one_query(house: House, guest: Guest) -> None:
    other = factories.guest(house)
    write(guest, range(1, 4), cpu_ms=30_000)
    write(other, range(1, 2), cpu_ms=150_000 * other.vcpus)
    write(other, range(70, 90), cpu_ms=60_000)
    write(other, range(-9, -5), cpu_ms=60_000)  # a clock that ran ahead

    with tenant_scope(house.tenant), CaptureQueriesContext(connection) as queries:
        sparks = cpu_sparks([guest.pk, other.pk])

    assert len(queries) == 1
    assert {pk: sorted(text.split()) for pk, text in sparks.items()} == {
        guest.pk: [f"{minute}0{50 // guest.vcpus}" for minute in (57, 58, 59)],
        other.pk: ["59100"],
    }


def test_the_emulators_own_work_is_not_shown_as_the_guests() -> None:
    from vms.models.metrics import AMOUNTS
    from vms.selectors.metrics import rates

    assert rates({**dict.fromkeys(AMOUNTS, 0), "seen_ms": 1000, "vcpu_ms": 1000, "cpu_ms": 1300}).cpu_percent == 100


def test_times_are_utc(house: House, guest: Guest) -> None:
    minute = now().replace(second=0, microsecond=0) - timedelta(hours=2)
    begins, ends = (at.astimezone(ATHENS).isoformat() for at in (minute.replace(second=30), minute + 5 * MINUTE))

    answer = ask(house, guest, **{"from": begins, "to": ends})

    assert datetime.fromisoformat(answer.json["from"]) == minute
    assert datetime.fromisoformat(answer.json["to"]) == minute + 5 * MINUTE
    assert len(answer.json["points"]) == 5
    assert answer.json["points"][0]["at"].endswith("Z")


def test_hours_leave_with_the_tenants_export(house: House, guest: Guest) -> None:
    write(guest, range(300), **BUSY)
    metrics_roll_up()

    lines = Rest(house.token).get(f"{house.url}/export").body.decode().splitlines()

    hours = [row for row in map(json.loads, lines) if row.get("section") == "metrics"]
    assert len(hours) in (4, 5)
    assert {(row["guest"], row["begins"][14:19]) for row in hours} == {(str(guest.pk), "00:00")}
    assert hours[-1]["cpu_ms"] == 60 * 30_000
