"""Messages that lie or come twice, leases, and handlers that are stuck."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from operations import runner, services, tasks
from operations.models import Operation, OperationLock
from operations.runner import LeaseLost, Retry, Run, run
from operations.services import Failure, Hold, operation_fail, operation_retry, operations_expire
from operations.states import Status
from portal.core.errors import Conflict
from portal.core.ids import uuid7
from tests import factories
from tests.operations.kinds import kind, submit
from tests.support.crowd import together


def nothing(work: Run) -> None:
    """A handler with nothing to do."""


@pytest.mark.django_db
@pytest.mark.parametrize(
    "message",
    ["01a20342-f9a0-7486-b784-99d139b127a6", "", "x", "../../etc", "1; DROP TABLE", None, 7, {"id": 1}, ["a"]],
    ids=repr,
)
def test_a_forged_message_changes_nothing(message: Any) -> None:
    """P-I2, B9."""
    with kind(nothing):
        operation = submit()
        tasks.run_operation(message)
        operation.refresh_from_db()
        assert operation.status == "queued"


@pytest.mark.django_db(transaction=True)
def test_a_message_delivered_many_times_at_once_acts_once() -> None:
    """B5."""
    done: list[str] = []

    def act(work: Run) -> None:
        with work.effect("one"):
            done.append(str(work.operation.pk))

    with kind(act) as ledger:
        operation = submit(factories.tenant_with_owner())
        assert together([lambda: tasks.run_operation(str(operation.pk))] * 10) == [None] * 10
    assert done == [str(operation.pk)]
    assert len(ledger.settled) == 1


@pytest.mark.django_db(transaction=True)
def test_the_lease_is_renewed_while_a_handler_is_busy(settings: Any) -> None:
    settings.OPERATION_LEASE_S = 0.3
    busy, release = threading.Event(), threading.Event()

    def slow(work: Run) -> None:
        busy.set()
        release.wait(20)

    def lease() -> Any:
        return Operation.objects.values_list("lease_until", flat=True).get(pk=operation.pk)

    def work() -> None:
        try:
            runner.run(operation.pk)
        finally:
            connection.close()

    with kind(slow):
        operation = submit()
        thread = threading.Thread(target=work)
        thread.start()
        assert busy.wait(20)
        first = lease()
        assert await_true(lambda: lease() > first)
        release.set()
        thread.join(20)
        operation.refresh_from_db()
        assert operation.status == Status.SUCCEEDED


@pytest.mark.django_db(transaction=True)
def test_a_handler_that_is_stuck_past_its_deadline_loses_its_lease(settings: Any) -> None:
    """I6: a call that hangs may not keep its operation alive for ever."""
    settings.OPERATION_LEASE_S = 0.3
    busy, release = threading.Event(), threading.Event()

    def stuck(work: Run) -> None:
        busy.set()
        release.wait(20)

    def work() -> None:
        try:
            runner.run(operation.pk)
        finally:
            connection.close()

    with kind(stuck, deadline_s=0.2) as ledger:
        operation = submit()
        thread = threading.Thread(target=work)
        thread.start()
        assert busy.wait(20)
        assert await_true(lambda: list(operations_expire()) is not None and not Operation.objects.get().is_live)
        release.set()
        thread.join(20)
        operation.refresh_from_db()
        assert (operation.status, operation.error_code) == ("failed", "timed_out")
        assert ledger.settled == [(operation.pk, "failed")]


@pytest.mark.django_db(transaction=True)
def test_a_call_that_gives_no_sign_of_life_ends_with_a_sentence_and_its_process(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L2, Q1: nothing interrupts a call that waits for a hung QEMU but the end of its process."""
    settings.OPERATION_LEASE_S, settings.OPERATION_STUCK_S = 0.3, 0.2
    ended, release = threading.Event(), threading.Event()
    monkeypatch.setattr(runner, "end_process", ended.set)

    def work() -> None:
        try:
            runner.run(operation.pk)
        finally:
            connection.close()

    with kind(lambda work: release.wait(20) and None) as ledger:
        operation = submit(lane="host.stuck")
        thread = threading.Thread(target=work)
        thread.start()
        assert ended.wait(20)
        release.set()
        thread.join(20)
        operation.refresh_from_db()
        assert (operation.status, operation.error_code) == ("failed", "host_stuck")
        assert operation.error_message
        assert operation.error_hint
        assert ledger.settled == [(operation.pk, "failed")]
        assert services.operation_claim(submit(lane="host.stuck").pk, worker="next") is None, "its lane rests"


def await_true(look: Any) -> bool:
    from launcher.processes import await_condition

    return bool(await_condition(look, timeout_s=60, interval_s=0.05))


@pytest.mark.django_db
def test_an_operator_can_hurry_what_waits_and_nothing_else() -> None:
    def silent(work: Run) -> None:
        raise Retry("Waiting for the host")

    with kind(silent):
        operation = submit(lane="host.a")
        run(operation.pk)
        assert services.operation_claim(operation.pk, worker="early") is None

        operation_retry(operation, actor=factories.desk())

        claimed = services.operation_claim(operation.pk, worker="w")
        assert claimed is not None
        with pytest.raises(Conflict):
            operation_retry(operation, actor=factories.desk())


@pytest.mark.django_db
def test_an_operation_can_hold_more_while_it_runs_but_not_what_another_has() -> None:
    subject = uuid7()
    with kind():
        first, second = submit(), submit()

        assert services.operation_hold(first, Hold("network", subject))
        assert services.operation_hold(first, Hold("network", subject)), "again, after a worker was killed"
        assert not services.operation_hold(second, Hold("network", subject))
        assert operation_fail(first, Failure("x", "X."))
        assert services.operation_hold(second, Hold("network", subject))


@pytest.mark.django_db
def test_a_worker_that_thaws_late_holds_nothing_for_what_is_over() -> None:
    subject = uuid7()
    with kind():
        claimed = services.operation_claim(submit().pk, worker="w")
        assert claimed is not None
        assert operation_fail(Operation.objects.get(pk=claimed.pk), Failure("x", "X."))

        with pytest.raises(LeaseLost):
            Run(claimed).hold("network", subject)

    assert not OperationLock.objects.filter(resource_id=subject).exists()
