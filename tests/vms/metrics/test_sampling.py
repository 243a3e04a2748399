"""One look a minute at each host; who cannot be asked delays nobody."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tenants.scoping import every_tenant
from tests.lab.waiting import wait_until
from tests.vms.reconcile.bench import Bench
from vms.hypervisor import pool
from vms.hypervisor.stats import DomainStats, Traffic
from vms.models import Guest, MetricPoint
from vms.reconcile import sample
from vms.reconcile.sample import Reading, Sampler, point_of
from vms.services.metrics import metric_points_write
from vms.states import Power

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock that nobody sets, set by the test."""
    times = [1000.0]
    monkeypatch.setattr(sample.time, "monotonic", lambda: times[0])
    return times


def counters(guest: Guest, *, cpu_s: int, memory_kib: int | None = None, told_at: int = 0) -> DomainStats:
    disks = {"vda": Traffic(cpu_s * 1024, 0, cpu_s, 0)}
    return DomainStats(
        uuid=str(guest.pk), run=0, cpu_ns=cpu_s * 10**9, memory_used_kib=memory_kib, memory_told_at=told_at, disks=disks
    )


def points() -> list[MetricPoint]:
    with every_tenant(why="test"):
        return list(MetricPoint.objects.order_by("guest", "minute"))


def look(sampler: Sampler, turn: int) -> int:
    with every_tenant(why="test"):
        return sampler.sample(turn)


def test_a_machine_is_sampled_from_its_second_reading_on(bench: Bench, clock: list[float]) -> None:
    guest = bench.guest()
    bench.guest(Power.STOPPED)
    sampler = Sampler(bench.host, pool.get(bench.host.uri))
    bench.on_host.stats[str(guest.pk)] = counters(guest, cpu_s=10, memory_kib=100 * 1024, told_at=5)
    assert look(sampler, 1) == 0

    clock[0] += 60
    bench.on_host.stats[str(guest.pk)] = counters(guest, cpu_s=40, memory_kib=128 * 1024, told_at=65)
    assert look(sampler, 2) == 1

    (point,) = points()
    assert (point.guest_id, point.tenant_id, point.minutes) == (guest.pk, guest.tenant_id, 1)
    assert (point.seen_ms, point.cpu_ms, point.vcpu_ms) == (60_000, 30_000, 60_000 * guest.vcpus)
    assert (point.memory_mib_s, point.memory_s) == (128 * 60, 60)
    assert (point.disk_read_bytes, point.disk_reads) == (30 * 1024, 30)
    assert bench.on_host.calls["stats"] == 2


def test_a_restart_is_a_gap(bench: Bench, clock: list[float]) -> None:
    guest = bench.guest()
    sampler = Sampler(bench.host, pool.get(bench.host.uri))
    look(sampler, 1)
    pool.get(bench.host.uri).pull_plug(str(guest.pk))
    pool.get(bench.host.uri).start(str(guest.pk))
    bench.on_host.stats[str(guest.pk)] = counters(guest, cpu_s=500)
    clock[0] += 60

    assert look(sampler, 2) == 0
    assert points() == []


def test_a_reading_that_comes_back_late_changes_nothing(bench: Bench, clock: list[float]) -> None:
    bench.guest()
    sampler = Sampler(bench.host, pool.get(bench.host.uri))
    look(sampler, 2)
    clock[0] += 60

    assert look(sampler, 1) == 0
    assert look(sampler, 3) == 1


@pytest.mark.parametrize(("seconds", "known"), [(60, True), (140, True), (200, False), (0, False)], ids=str)
def test_too_long_without_a_look_is_a_gap(bench: Bench, seconds: int, known: bool) -> None:
    guest, _operation = bench.ask_create()
    readings = [Reading(counters(guest, cpu_s=1), 0), Reading(counters(guest, cpu_s=2), seconds)]

    assert (point_of(guest, *readings, AT) is not None) is known


@pytest.mark.parametrize(
    ("kib", "told_at", "mib"),
    [(64 * 1024, 61, 64), (10**15, 61, 256), (-5, 61, 0), (64 * 1024, 1, None), (None, 61, None)],
    ids=["honest", "more than it has", "less than nothing", "old words", "silent"],
)
def test_what_a_guest_says_of_its_memory_is_held_within_what_it_has(
    bench: Bench, kib: int | None, told_at: int, mib: int | None
) -> None:
    guest, _operation = bench.ask_create()
    before = Reading(counters(guest, cpu_s=1, memory_kib=1, told_at=1), 0)
    after = Reading(counters(guest, cpu_s=2, memory_kib=kib, told_at=told_at), 60)

    point = point_of(guest, before, after, AT)

    assert point is not None
    assert (point.memory_mib_s // point.memory_s if point.memory_s else None) == mib


def test_a_point_twice_is_one(bench: Bench) -> None:
    guest, _operation = bench.ask_create()
    readings = Reading(counters(guest, cpu_s=1), 0), Reading(counters(guest, cpu_s=2), 60)
    with every_tenant(why="test"):
        for _round in range(2):
            point = point_of(guest, *readings, AT)
            assert point is not None
            metric_points_write([point])

    assert [point.minute for point in points()] == [int(AT.timestamp()) // 60]


@pytest.mark.django_db(transaction=True)
def test_a_frozen_guest_holds_up_a_bounded_number_of_looks_and_never_the_ear(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.guest()
    sampler = Sampler(bench.host, pool.get(bench.host.uri))
    hung = [bench.on_host.hang("stats", at=number) for number in (1, 2, 3)]
    minutes = iter(range(10))
    monkeypatch.setattr(sample, "now", lambda: datetime.fromtimestamp(next(minutes) * 60, tz=UTC))

    for _minute in range(5):
        sampler.tick()

    assert len(sampler._threads) == sample.ASKING_MAX
    wait_until(lambda: bench.on_host.calls["stats"] == 3 or None, timeout_s=10, what="three looks that wait")
    for release in hung:
        release.set()
    for thread in sampler._threads:
        thread.join()
    sampler.tick()
    assert len(sampler._threads) == 1
    sampler._threads[0].join()
    assert bench.on_host.calls["stats"] == 4
