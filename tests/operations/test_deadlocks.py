"""D3: what two transactions want at once they get one after the other, or the loser tries again; nothing breaks."""

from __future__ import annotations

import threading

import pytest
from django.db import InterfaceError, OperationalError, connection, transaction

from operations.models import Operation
from operations.runner import Run, run
from operations.services import Hold, operation_claim, operation_hold
from tests.operations.kinds import Subject, due, kind, submit
from tests.support.crowd import together

pytestmark = pytest.mark.django_db(transaction=True)


def test_asking_for_what_another_holds_leaves_that_operations_row_alone() -> None:
    """Two machines of one network were purged at once: one asked for the network while the other ended, and both waited."""
    subject = Subject()
    asked = threading.Event()
    with kind():
        holder, other = submit(holds=[Hold("network", subject.pk)]), submit()
        assert operation_claim(holder.pk, worker="w") is not None

        def ask() -> bool:
            with transaction.atomic():
                held = operation_hold(other, Hold("network", subject.pk))
                asked.set()
                assert renewed.wait(30)
                return held

        renewed = threading.Event()

        def renew() -> str:
            assert asked.wait(30)
            try:
                with transaction.atomic():
                    with connection.cursor() as cursor:
                        cursor.execute("SET LOCAL lock_timeout = '2s'")
                    return Operation.objects.select_for_update().get(pk=holder.pk).status
            finally:
                renewed.set()

        assert together([ask, renew]) == [False, "running"]


def test_work_that_the_database_breaks_off_is_tried_again() -> None:
    """It failed as our mistake. What the broken-off transaction did is gone, so the whole attempt is repeated."""
    broken = [OperationalError("deadlock detected"), InterfaceError("the connection is closed")]

    def work(_run: Run) -> None:
        if broken:
            raise broken.pop()

    with kind(work) as ledger:
        operation = submit()
        for _ in range(2):
            assert run(operation.pk) is None
            operation.refresh_from_db()
            assert (operation.status, operation.error_code) == ("queued", "")
            due(operation)

        assert run(operation.pk) == "succeeded"
        assert ledger.settled == [(operation.pk, "succeeded")]
