"""Many at once: threads that begin together or meet on a lock, each with a database connection of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connection, connections, transaction

PATIENCE_S = 120


def together[T](work: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Run all of ``work`` at the same moment; what each returned, or the exception it raised, in order."""
    line = threading.Barrier(len(work))

    def go(one: Callable[[], T]) -> T | Exception:
        try:
            line.wait(PATIENCE_S)
            return one()
        except Exception as error:  # noqa: BLE001  (whatever it is, the test that gathers them judges it)
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=len(work)) as pool:
        return list(pool.map(go, work))


def meeting[T](first: Callable[[], object], waits: Callable[[], T], then: Callable[[], object]) -> T | Exception:
    """In one transaction ``first``, then, once ``waits`` stands at a lock of it in a transaction of its own, ``then``.

    What ``waits`` returned, or the exception it raised; ``then`` and the commit raise where they fail.
    """

    def go() -> T | Exception:
        try:
            with transaction.atomic():
                return waits()
        except Exception as error:  # noqa: BLE001  (the caller judges it)
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=1) as pool:
        with transaction.atomic():
            first()
            other = pool.submit(go)
            _until_it_waits(other)
            then()
        return other.result(PATIENCE_S)


def _until_it_waits(other: Future[Any]) -> None:
    """Return once another connection waits for a lock of ours."""
    deadline = time.monotonic() + PATIENCE_S
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            )
            if cursor.fetchone() != (0,):
                return
            assert not other.done(), f"it waits for no lock of ours: {other.result()!r}"
            assert time.monotonic() < deadline, "it neither waits nor ends"
