"""Runs one operation: claim, open the scope, call the handler, classify what went wrong, settle.

A handler gets a ``Run`` and wraps each outside effect in ``run.effect(…)``. That checks, before the effect, that the
operation is still this worker's and not called off; and gives the kill tests a point before and after it.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import Error, close_old_connections, connection, transaction
from django.utils.translation import gettext as _

from operations import services
from operations.models import Operation
from operations.registry import handler_of
from operations.services import Failure, Hold
from operations.states import Status
from portal.core.clock import now
from portal.core.database import will_pass
from portal.core.errors import PortalError
from tenants.scoping import every_tenant, tenant_scope

log = structlog.get_logger(__name__)
KILL_AT = "GUESTHOUSE_KILL_AT"
SEEN_POINTS = "GUESTHOUSE_POINTS_FILE"
TICK_S = 1.0


class LeaseLost(Exception):
    """The operation is no longer this worker's; it must touch nothing more."""


class Cancelled(Exception):
    """Somebody called the operation off."""


class Retry(Exception):
    """The host does not answer: nothing is known of the effect; look again later. ``lane`` is closed meanwhile."""

    def __init__(self, reason: str, *, detail: str = "", close_lane: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.close_lane = reason, detail, close_lane


def checkpoint(point: str) -> None:
    """A place where a worker may die: ``KIND:effect:before|after``. The kill tests set the environment; nothing else does."""
    if path := os.environ.get(SEEN_POINTS):
        with open(path, "a", encoding="ascii") as seen:
            seen.write(point + "\n")
    if os.environ.get(KILL_AT) == point:
        os.kill(os.getpid(), signal.SIGKILL)


class Run:
    """One attempt at one operation, in the hands of a handler."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.params: dict[str, Any] = operation.params
        self.moved = time.monotonic()
        """When the handler last gave a sign of life."""

    def check(self) -> None:
        """Raise ``LeaseLost`` or ``Cancelled`` unless this worker may go on."""
        self.moved = time.monotonic()
        if not services.operation_renew(self.operation):
            raise LeaseLost
        asked = Operation.objects.filter(pk=self.operation.pk).values_list("cancel_requested_at", flat=True).get()
        if asked is not None:
            raise Cancelled

    def go_through(self) -> None:
        """In the transaction of an effect that is not undone: the last moment at which it is called off or loses its lease."""
        self.check()
        services.operation_go_through(self.operation)

    def say(self, step: str, progress: int) -> None:
        """Show what is being done; raises ``LeaseLost``."""
        self.moved = time.monotonic()
        if not services.operation_progress(self.operation, step=str(step), progress=progress):
            raise LeaseLost

    def tick(self, step: str, progress: int) -> None:
        """A sign of life from inside long work, as often as one likes: it counts once a second, also without progress.

        Raises ``LeaseLost`` or ``Cancelled``.
        """
        if time.monotonic() - self.moved < TICK_S:
            return
        self.check()
        if progress > self.operation.progress:
            self.say(step, progress)

    def hold(self, resource_type: str, resource_id: UUID) -> None:
        """Hold one thing more until the operation's end; raises ``Retry`` while another operation has it.

        Raises ``LeaseLost`` or ``Cancelled`` as ``check`` does, in the same transaction: what is over holds nothing.
        """
        with transaction.atomic():
            self.check()
            if not services.operation_hold(self.operation, Hold(resource_type, resource_id)):
                raise Retry(_("Waiting for other work to finish"), close_lane=False)

    @contextmanager
    def effect(self, name: str) -> Iterator[None]:
        """Around one outside effect; the body must read what is so and do nothing where it is already done."""
        self.check()
        checkpoint(f"{self.operation.kind}:{name}:before")
        yield
        self.moved = time.monotonic()
        checkpoint(f"{self.operation.kind}:{name}:after")


def worker_name() -> str:
    """Which process has the lease."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"[:64]


def run(pk: UUID | str) -> Status | None:
    """Run the operation if it is ours to take; its status afterwards, or None where there was nothing to do."""
    worker = worker_name()
    operation = services.operation_claim(pk, worker=worker)
    if operation is None:
        return None
    attempt = Run(operation)
    tenant = operation.tenant
    scope = tenant_scope(tenant) if tenant is not None else every_tenant(why="an operation on shared things")
    with (
        scope,
        structlog.contextvars.bound_contextvars(
            operation=str(operation.pk),
            kind=operation.kind,
            tenant=tenant.slug if tenant else None,
            request_id=operation.request_id,
        ),
        _heartbeat(attempt),
    ):
        try:
            _attempt(attempt, worker)
        except Error as error:
            if not will_pass(error):
                raise
            _put_back(operation, error)
            return None
    operation.refresh_from_db(fields=["status"])
    return Status(operation.status)


def _attempt(attempt: Run, worker: str) -> None:
    operation = attempt.operation
    log.info("operation_started", attempt=operation.attempts)
    try:
        handler_of(operation.kind)(attempt)
        if not services.operation_finish(operation, worker=worker):  # what cannot be settled so has failed
            raise LeaseLost
    except LeaseLost:
        log.warning("operation_lease_lost")
    except Cancelled:
        called_off = Failure("cancelled", _("Called off."))
        services.operation_fail(operation, called_off, status=Status.CANCELLED, worker=worker)
        log.info("operation_cancelled")
    except Retry as retry:
        _retry(operation, retry)
    except PortalError as error:
        failure = Failure(error.code, error.sentence, error.advice, str(error.details.get("detail", "")))
        services.operation_fail(operation, failure, worker=worker)
        log.info("operation_failed", code=error.code, detail=failure.detail)
    except Exception as error:
        if will_pass(error):
            raise
        log.exception("operation_broke")
        services.operation_fail(
            operation,
            Failure(
                "broken",
                _("The portal made a mistake while doing this."),
                _("Tell the operator the operation's id."),
                f"{type(error).__name__}: {error}",
            ),
            worker=worker,
        )
    else:
        log.info("operation_succeeded")


def _put_back(operation: Operation, error: Error) -> None:
    """The database broke off: try again soon; while it is still away, the lease lapses and the sweep does the same."""
    log.warning("operation_database_lost", detail=str(error))
    try:
        if not connection.in_atomic_block:
            connection.close()
        _retry(operation, Retry(_("Waiting for the database"), detail=str(error), close_lane=False))
    except Error as again:
        if not will_pass(again):
            raise
        log.warning("operation_left_to_its_lease", detail=str(again))


def _retry(operation: Operation, retry: Retry) -> None:
    """Back off with a cap and jitter; past the deadline the sweep's answer is given at once."""
    if operation.lane and retry.close_lane:
        services.lane_close(operation.lane, seconds=min(5, settings.OPERATION_RETRY_MAX_S))
    if now() >= operation.deadline_at:
        services.operation_fail(
            operation,
            Failure(
                "host_unreachable",
                _("The host did not answer in time."),
                _("Nothing more will be tried. Try again when the host is back."),
                retry.detail,
            ),
            worker=operation.lease_owner,
        )
        return
    spread = (operation.pk.int % 1000) / 1000
    delay = min(settings.OPERATION_RETRY_MAX_S, 2 ** min(operation.attempts, 6) / 2) * (0.75 + spread / 2)
    log.info("operation_postponed", reason=retry.reason, seconds=round(delay, 1), detail=retry.detail)
    services.operation_postpone(operation, seconds=delay, step=retry.reason)


@contextmanager
def _heartbeat(attempt: Run) -> Iterator[None]:
    """Renew the lease while the handler works; a process that is frozen or dead renews nothing.

    Past the deadline nothing is renewed either, and a handler that gives no sign of life is given up (``_give_up``).
    """
    over = threading.Event()
    thread = threading.Thread(target=_beat, args=(attempt, over), name=f"lease-{attempt.operation.pk}", daemon=True)
    if not connection.in_atomic_block:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.ident is not None:
            thread.join(timeout=5)


def _beat(attempt: Run, over: threading.Event) -> None:
    operation = attempt.operation
    try:
        while not over.wait(settings.OPERATION_LEASE_S / 3):
            close_old_connections()
            if time.monotonic() - attempt.moved > settings.OPERATION_STUCK_S:
                _give_up(operation)
                return
            if now() > operation.deadline_at or not _renewed(operation):
                return
    finally:
        connection.close()


def _renewed(operation: Operation) -> bool:
    """Prolong the lease; a database that is away for a moment is asked again at the next beat."""
    try:
        return services.operation_renew(operation)
    except Error as error:
        log.warning("lease_not_renewed", operation=str(operation.pk), detail=str(error))
        connection.close()
        return True


def _give_up(operation: Operation) -> None:
    """The handler is stuck in one call: end the operation with a sentence, rest its lane, and end this process.

    Nothing in libvirt's client interrupts a call that waits for a hung QEMU; only the end of the process does. Celery starts
    another one.
    """
    log.error("operation_stuck", operation=str(operation.pk), kind=operation.kind)
    if operation.lane:
        services.lane_close(operation.lane, seconds=5)
    failure = Failure(
        "host_stuck",
        _("The host did not finish this in time."),
        _("The machine may hang. Stop pulls its plug; or ask the operator."),
        f"no sign of life for {settings.OPERATION_STUCK_S} s",
    )
    services.operation_fail(operation, failure, worker=operation.lease_owner)
    end_process()


def _stay() -> None:
    """Outside of a worker's child process there is nothing to end."""


end_process: Callable[[], None] = _stay
"""What ends this process when a call is stuck; workers' children set it (``operations.tasks``)."""
