"""Who may take an operation, and what becomes of it when its worker goes: one of many, as the lane allows, never lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from operations.models import Lane, Operation, OperationLock
from operations.runner import Run, run
from operations.services import (
    Hold,
    lane_close,
    lane_open,
    operation_claim,
    operation_finish,
    operation_progress,
    operation_renew,
    operations_expire,
)
from operations.states import Status
from portal.core.clock import now
from portal.core.errors import Conflict
from tests import factories
from tests.operations.kinds import Subject, due, kind, lapse, submit
from tests.support.crowd import together

WORKERS = 20


def nothing(work: Run) -> None:
    """A handler with nothing to do."""


@pytest.mark.django_db(transaction=True)
def test_of_twenty_workers_exactly_one_gets_an_operation() -> None:
    with kind():
        for lane in ["", "host.a", "", "host.b"]:
            operation = submit(factories.tenant_with_owner(), lane=lane)

            taken = together([lambda n=n, o=operation: operation_claim(o.pk, worker=f"w{n}") for n in range(WORKERS)])

            winners = [found for found in taken if found is not None]
            assert len(winners) == 1, winners
            assert isinstance(winners[0], Operation)
            operation.refresh_from_db()
            assert (operation.status, operation.attempts) == ("running", 1)
            assert operation.lease_owner == winners[0].lease_owner


@pytest.mark.django_db(transaction=True)
def test_a_lane_takes_as_many_as_it_is_wide_and_another_lane_does_not_care(settings: Any) -> None:
    settings.LANE_WIDTH = 3
    with kind():
        crowd = [submit(lane="host.a") for _ in range(WORKERS)]
        other = submit(lane="host.b")

        taken = together([lambda o=o: operation_claim(o.pk, worker=str(o.pk)) for o in crowd])

        winners = [found for found in taken if isinstance(found, Operation)]
        assert len(winners) == 3
        assert operation_claim(other.pk, worker="w") is not None
        assert operation_finish(winners[0], worker=winners[0].lease_owner)
        waiting = next(o for o in crowd if o.pk not in {w.pk for w in winners})
        assert operation_claim(waiting.pk, worker="w") is not None


@pytest.mark.django_db
def test_a_closed_lane_starts_nothing_until_its_host_is_heard_again() -> None:
    with kind():
        operation = submit(lane="host.a")
        lane_close("host.a", seconds=60)
        assert operation_claim(operation.pk, worker="w") is None

        lane_open("host.a")
        assert operation_claim(operation.pk, worker="w") is not None
        assert Lane.objects.get(key="host.a").overruns == 1


@pytest.mark.django_db
def test_a_lapsed_lease_returns_the_operation_to_the_queue_and_another_worker_takes_it() -> None:
    with kind() as ledger:
        operation = submit()
        first = operation_claim(operation.pk, worker="first")
        assert first is not None
        assert list(operations_expire()) == []

        lapse(operation)
        assert list(operations_expire()) == [operation.pk]
        second = operation_claim(operation.pk, worker="second")

        assert second is not None
        assert second.attempts == 2
        assert not operation_renew(first)
        assert not operation_progress(first, step="late", progress=99)
        assert not operation_finish(first, worker="first")
        assert operation_finish(second, worker="second")
        assert ledger.settled == [(operation.pk, "succeeded")]


@pytest.mark.django_db
def test_the_same_worker_that_took_it_twice_is_late_with_its_first_attempt() -> None:
    with kind():
        operation = submit()
        first = operation_claim(operation.pk, worker="w")
        lapse(operation)
        list(operations_expire())
        second = operation_claim(operation.pk, worker="w")

        assert first is not None
        assert second is not None
        assert not operation_finish(first, worker="w")
        assert operation_finish(second, worker="w")


def _breaks() -> None:
    raise RuntimeError("broken")


def _refused() -> None:
    raise Conflict(code="refused")


@pytest.mark.django_db
@pytest.mark.parametrize("end", [lambda: None, _breaks, _refused], ids=["done", "broken", "refused"])
def test_a_worker_that_thaws_late_changes_nothing_however_it_ends(end: Callable[[], None]) -> None:
    """W3, P-J1: it froze before an effect; meanwhile the lease lapsed and another worker took the operation up."""
    done: list[str] = []

    def freezes(work: Run) -> None:
        with work.effect("one"):
            done.append("one")
        lapse(work.operation)
        list(operations_expire())
        assert operation_claim(work.operation.pk, worker="second") is not None
        if end is not _breaks and end is not _refused:
            with work.effect("two"):
                done.append("two")
        end()

    with kind(freezes) as ledger:
        operation = submit(factories.tenant_with_owner())
        run(operation.pk)

        operation.refresh_from_db()
        assert done == ["one"]
        assert (operation.status, operation.lease_owner, operation.error_code) == ("running", "second", "")
        assert ledger.settled == []
        assert operation.locks.count() == 1


@pytest.mark.django_db
def test_a_worker_that_thaws_after_its_last_step_does_not_claim_success(caplog: pytest.LogCaptureFixture) -> None:
    def freezes(work: Run) -> None:
        lapse(work.operation)
        list(operations_expire())
        assert operation_claim(work.operation.pk, worker="second") is not None

    with kind(freezes), caplog.at_level("INFO", logger="operations.runner"):
        run(submit(factories.tenant_with_owner()).pk)

    assert "operation_lease_lost" in caplog.text
    assert "operation_succeeded" not in caplog.text


@pytest.mark.django_db
def test_past_its_deadline_an_operation_ends_whoever_has_it() -> None:
    with kind(deadline_s=100) as ledger:
        queued, running = submit(), submit()
        assert operation_claim(running.pk, worker="w") is not None
        Operation.objects.update(deadline_at=now() - timedelta(seconds=1))
        lapse(running)

        list(operations_expire())

        for operation in (queued, running):
            operation.refresh_from_db()
            assert (operation.status, operation.error_code) == ("failed", "timed_out")
            assert operation.error_message
        assert sorted(ledger.settled) == sorted([(queued.pk, "failed"), (running.pk, "failed")])
        assert not OperationLock.objects.exists()


@pytest.mark.django_db
def test_what_one_operation_holds_no_other_gets_until_it_ends() -> None:
    subject = Subject()
    with kind(nothing):
        first = submit(holds=[Hold("thing", subject.pk)])
        for exclusive in (True, False):
            with pytest.raises(Conflict) as refusal:
                submit(holds=[Hold("thing", subject.pk, exclusive=exclusive)])
            assert refusal.value.code == "operation_in_progress"
        assert Operation.objects.count() == 1

        run(first.pk)

        submit(holds=[Hold("thing", subject.pk, exclusive=False)])
        submit(holds=[Hold("thing", subject.pk, exclusive=False)])
        with pytest.raises(Conflict):
            submit(holds=[Hold("thing", subject.pk)])


@pytest.mark.django_db(transaction=True)
def test_of_many_that_want_to_hold_a_thing_at_once_one_gets_it() -> None:
    subject = Subject()
    with kind():
        answers = together([lambda: submit(holds=[Hold("thing", subject.pk)])] * WORKERS)

        assert len([answer for answer in answers if isinstance(answer, Operation)]) == 1
        assert {type(answer) for answer in answers} == {Operation, Conflict}
        assert Operation.objects.count() == 1


@pytest.mark.django_db
def test_what_is_due_later_is_not_taken_early_nor_rung() -> None:
    with kind():
        operation = submit()
        Operation.objects.update(not_before=now() + timedelta(seconds=60))

        assert operation_claim(operation.pk, worker="w") is None
        assert list(operations_expire()) == []
        due(operation)
        assert list(operations_expire()) == [operation.pk]
        assert Status(operation.status) == Status.QUEUED


@pytest.mark.django_db
def test_a_host_on_which_much_waits_does_not_hide_the_others(settings: Any) -> None:
    """The oldest were rung first, whatever their host: those of one that hangs were rung in every sweep, and no others."""
    settings.LANE_WIDTH = 2
    with kind():
        hung = [submit(lane="host.a") for _ in range(5)]
        other, shared = submit(lane="host.b"), submit()

        assert list(operations_expire(batch=4)) == [hung[0].pk, hung[1].pk, other.pk, shared.pk]
