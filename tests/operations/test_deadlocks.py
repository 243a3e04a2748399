"""D3: what two transactions want at once they get one after the other, or the loser tries again; nothing breaks."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction

from operations.models import Operation
from operations.services import Hold, operation_claim, operation_hold
from tests.operations.kinds import Subject, kind, submit
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
