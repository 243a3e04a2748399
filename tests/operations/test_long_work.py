"""Copies, backups and the like keep out of the way: few at once on a host and everywhere, and short work beside them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from operations.models import Operation
from operations.registry import kinds
from operations.services import (
    lane_close,
    operation_claim,
    operation_finish,
    operation_postpone,
    operations_expire,
    operations_next,
)
from operations.services.submit import LONG_S
from operations.shapes import operation_shown
from operations.tasks import LONGEST_S, run_operation
from tests import factories
from tests.operations.kinds import due, kind, lapse, submit
from tests.support.crowd import together

LONG = {
    "backup.create",
    "backup.delete",
    "backup.tidy",
    "backup.verify",
    "guest.clone",
    "guest.putback",
    "image.capture",
    "image.fetch",
    "image.import",
    "image.receive",
    "image.test",
    "image.try",
    "volume.copy",
    "volume.export",
}
"""What moves whole disks or waits for a machine. All else is short, but for what is made of a backup, or wiped."""
WAITS = "Waiting for other copies and backups to finish"


@pytest.fixture(autouse=True)
def both_kinds(settings: Any) -> Iterator[None]:
    settings.LANE_WIDTH, settings.LONG_AT_ONCE = 3, 4
    with kind(), kind(name="test.long", long=True):
        yield


def claimed(operations: list[Operation]) -> list[Operation]:
    """Those of them that a worker got, each asked for once, in order."""
    return [o for o in operations if operation_claim(o.pk, worker=str(o.pk)) is not None]


def many(number: int, name: str, *lanes: str) -> list[Operation]:
    return [submit(name=name, lane=lane) for _ in range(number) for lane in lanes or ("",)]


@pytest.mark.django_db
def test_every_kind_is_long_or_short_by_intent() -> None:
    declared = {kind.name: kind for kind in kinds().values() if not kind.name.startswith("test.")}

    assert {name for name, kind in declared.items() if kind.long} == LONG
    assert max(kind.deadline_s for kind in declared.values()) < LONGEST_S == run_operation.time_limit


@pytest.mark.django_db(transaction=True)
def test_of_fifty_at_once_no_more_begin_than_may_run() -> None:
    crowd = many(10, "test.long", "host.a", "host.b", "host.c", "host.d", "")

    taken = together([lambda o=o: operation_claim(o.pk, worker=str(o.pk)) for o in crowd])

    won = [found for found in taken if isinstance(found, Operation)]
    assert [found for found in taken if isinstance(found, BaseException)] == []
    assert len(won) == Operation.objects.filter(status="running").count() == 4
    for lane in ("host.a", "host.b", "host.c", "host.d"):
        assert sum(found.lane == lane for found in won) <= 2


@pytest.mark.django_db
def test_on_a_host_one_place_is_left_for_short_work() -> None:
    long, short = many(3, "test.long", "host.a"), many(2, "test.work", "host.a")

    assert claimed(long) == long[:2]
    assert claimed(short) == short[:1]


@pytest.mark.django_db
def test_a_host_that_takes_one_at_a_time_takes_long_work_too(settings: Any) -> None:
    settings.LANE_WIDTH = 1

    assert len(claimed(many(2, "test.long", "host.a"))) == 1


@pytest.mark.django_db
def test_wherever_it_runs_long_work_takes_of_the_same_few_places_and_short_work_takes_none() -> None:
    long = many(1, "test.long", "", "host.a", "host.b", "", "host.c", "")

    assert claimed(long) == long[:4]
    assert len(claimed(many(3, "test.work", "", "host.c"))) == 6


@pytest.mark.django_db
def test_long_is_also_what_is_so_though_its_kind_is_not(settings: Any) -> None:
    settings.LONG_AT_ONCE = 1
    first, second = submit(long=True), submit(long=True)

    assert claimed([first, second]) == [first]
    assert first.deadline_at - first.created_at == timedelta(seconds=LONG_S)


@pytest.mark.django_db
def test_a_place_is_free_again_when_one_ends_is_put_off_or_its_worker_dies(settings: Any) -> None:
    settings.LONG_AT_ONCE = 1
    ends, waits, dies, last = many(4, "test.long")
    taken = operation_claim(ends.pk, worker="w")
    assert taken is not None
    assert claimed([waits]) == []

    operation_finish(taken, worker="w")
    taken = operation_claim(waits.pk, worker="w")
    assert taken is not None
    operation_postpone(taken, seconds=60, step="Waiting for the host")
    assert claimed([dies]) == [dies]
    lapse(dies)
    list(operations_expire())

    assert claimed([last]) == [last]
    due(waits)
    assert claimed([waits, dies]) == []


@pytest.mark.django_db
def test_its_page_says_what_it_waits_for_until_it_begins(settings: Any) -> None:
    settings.LONG_AT_ONCE = 1
    house = factories.tenant_with_owner()
    first, second = submit(house, name="test.long"), submit(house, name="test.long")

    def step() -> str:
        second.refresh_from_db()
        return operation_shown(second, house.actor).step

    assert step() == "Waiting for its turn"
    taken = operation_claim(first.pk, worker="w")
    assert taken is not None
    for _ in range(2):
        assert claimed([second]) == []
        assert step() == WAITS

    operation_finish(taken, worker="w")
    assert claimed([second]) == [second]
    assert step() == "Just begun"


@pytest.mark.django_db
def test_long_work_that_waits_hides_no_short_work_from_the_sweep() -> None:
    long = many(6, "test.long", "host.a", "")
    short = many(2, "test.work", "host.a", "")

    rung = list(operations_expire(batch=4))

    assert rung == [o.pk for o in short] + [o.pk for o in long[:4]]


@pytest.mark.django_db
def test_a_host_that_is_silent_keeps_no_long_work_of_others_waiting() -> None:
    many(6, "test.long", "host.a")
    other = submit(name="test.long", lane="host.b")
    lane_close("host.a", seconds=60)

    assert list(operations_expire(batch=3)) == [other.pk]


@pytest.mark.django_db
def test_while_no_more_may_begin_nothing_long_is_rung() -> None:
    claimed(many(4, "test.long"))
    many(2, "test.long")
    short = submit()

    assert list(operations_expire()) == [short.pk]


@pytest.mark.django_db
def test_who_ends_rings_for_those_who_waited_for_its_place() -> None:
    running = many(2, "test.long", "host.a", "host.b")
    taken = [operation_claim(o.pk, worker="w") for o in running]
    elsewhere, here = submit(name="test.long", lane="host.c"), submit(name="test.long", lane="host.a")
    short = many(2, "test.work", "host.a")
    [other] = many(1, "test.work", "host.b")
    assert taken[0] is not None

    operation_finish(taken[0], worker="w")

    assert list(operations_next(running[0].pk)) == [o.pk for o in (*short, elsewhere, here)]
    assert other.pk not in list(operations_next(running[0].pk))


@pytest.mark.django_db
def test_a_project_that_asks_for_much_takes_turns_with_those_that_ask_for_little(settings: Any) -> None:
    settings.LONG_AT_ONCE = 2
    much, little = factories.tenant_with_owner(), factories.tenant_with_owner()
    many_of_it = [submit(much, name="test.long", lane="host.a") for _ in range(6)]
    its_one = submit(little, name="test.long", lane="host.a")
    taken = operation_claim(many_of_it[0].pk, worker="w")
    assert taken is not None

    assert list(operations_expire())[:2] == [its_one.pk, many_of_it[1].pk]
    operation_finish(taken, worker="w")
    assert next(iter(operations_next(taken.pk))) == many_of_it[1].pk, "where none runs, the oldest"


@pytest.mark.django_db
def test_a_short_one_that_ends_rings_for_long_ones_of_its_host_alone() -> None:
    short = submit(lane="host.a")
    here = many(2, "test.long", "host.a")
    submit(name="test.long", lane="host.b")
    taken = operation_claim(short.pk, worker="w")
    assert taken is not None

    operation_finish(taken, worker="w")

    assert list(operations_next(short.pk)) == [here[0].pk]
