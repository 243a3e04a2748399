"""An operation is submitted, claimed, moved along and ended here; nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils.translation import gettext as _

from operations.dispatch import ring_on_commit
from operations.models import Lane, Operation, OperationLock
from operations.registry import kind_of
from operations.states import LIVE, Status, may_move
from portal.core.clock import now, rfc3339
from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope


class Subject(Protocol):
    """What an operation can be about: a row with an id and a name."""

    @property
    def pk(self) -> Any: ...
    @property
    def name(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Hold:
    """A thing to hold for the operation's life: exclusively, or shared with other readers."""

    resource_type: str
    resource_id: UUID
    exclusive: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation failed: for the customer ``message`` and ``hint``, for operators ``detail``."""

    code: str
    message: str
    hint: str = ""
    detail: str = ""


def operation_submit(
    subject: Subject,
    *,
    kind: str,
    actor: Actor,
    tenant: Tenant | None = None,
    params: dict[str, Any] | None = None,
    holds: Sequence[Hold] = (),
    lane: str = "",
    generation: int = 0,
    parent: Operation | None = None,
) -> Operation:
    """Write down work to be done and ring for a worker on commit; runs in the caller's transaction.

    Raises ``Conflict`` (``operation_in_progress``) while something it would hold is held. ``params`` carry ids and plain
    values, never secrets.
    """
    owner = tenant or getattr(subject, "tenant", None)
    at = now()
    operation = Operation.objects.create(
        tenant=owner,
        parent=parent,
        kind=kind,
        subject_type=type(subject).__name__.lower(),
        subject_id=subject.pk,
        subject_name=str(subject.name)[:120],
        params=params or {},
        generation=generation,
        lane=lane,
        requested_by=actor.user,
        requested_label=actor.label,
        requested_via=actor.via,
        request_id=actor.request_id,
        deadline_at=at + timedelta(seconds=kind_of(kind).deadline_s),
        not_before=at,
        created_at=at,
        status=Status.RUNNING if kind_of(kind).group else Status.QUEUED,
        started_at=at if kind_of(kind).group else None,
    )
    for hold in holds:
        _hold(operation, hold)
    _announce(operation)
    if operation.status == Status.QUEUED:
        ring_on_commit(operation)
    return operation


def _hold(operation: Operation, hold: Hold) -> None:
    others = OperationLock.objects.select_for_update().filter(
        resource_type=hold.resource_type, resource_id=hold.resource_id
    )
    taken = others.filter(Q(exclusive=True)) if not hold.exclusive else others
    clash = taken.select_related("operation").first()
    if clash is None:
        try:
            with transaction.atomic():
                OperationLock.objects.create(
                    operation=operation,
                    resource_type=hold.resource_type,
                    resource_id=hold.resource_id,
                    exclusive=hold.exclusive,
                )
            return
        except IntegrityError:
            clash = others.select_related("operation").first()
    raise Conflict(
        _("Something else is being done with this right now."),
        code="operation_in_progress",
        operation=str(clash.operation_id) if clash else "",
    )


@transaction.atomic
def operation_hold(operation: Operation, hold: Hold) -> bool:
    """Have a live operation hold one thing more, until its end; False while another has it. Held already is fine."""
    if operation.locks.filter(resource_type=hold.resource_type, resource_id=hold.resource_id).exists():
        return True
    try:
        _hold(operation, hold)
    except Conflict:
        return False
    return True


def operation_claim(pk: UUID | str, *, worker: str) -> Operation | None:
    """Take a queued operation for ``worker``; None where it is not ours to take (taken, over, too early, lane full).

    A compare-and-swap on the row, under the lane's lock: exactly one of many rings wins.
    """
    with transaction.atomic():
        operation = Operation.objects.filter(pk=pk).first()
        at = now()
        if operation is None or operation.status != Status.QUEUED or operation.not_before > at:
            return None
        if operation.lane and not _lane_has_room(operation.lane, at):
            return None
        taken = Operation.objects.filter(pk=pk, status=Status.QUEUED, cancel_requested_at=None).update(
            status=Status.RUNNING,
            lease_owner=worker,
            lease_until=at + timedelta(seconds=settings.OPERATION_LEASE_S),
            attempts=F("attempts") + 1,
            started_at=operation.started_at or at,
        )
        if not taken:
            return None
        operation.refresh_from_db()
        _announce(operation)
        return operation


def _lane_has_room(key: str, at: datetime) -> bool:
    Lane.objects.get_or_create(key=key, defaults={"width": settings.LANE_WIDTH})
    lane = Lane.objects.select_for_update().get(key=key)
    if lane.closed_until is not None and lane.closed_until > at:
        return False
    return Operation.objects.filter(lane=key, status=Status.RUNNING).count() < lane.width


def lane_close(key: str, *, seconds: float) -> None:
    """Start nothing in this lane for a while: its host does not answer."""
    until = now() + timedelta(seconds=seconds)
    Lane.objects.update_or_create(key=key, defaults={"closed_until": until})
    Lane.objects.filter(key=key).update(overruns=F("overruns") + 1)


def lane_open(key: str) -> None:
    """The host answers again."""
    Lane.objects.filter(key=key).exclude(closed_until=None).update(closed_until=None)


def operation_renew(operation: Operation) -> bool:
    """Prolong the worker's lease; False when the operation is no longer this worker's: it must touch nothing more."""
    until = now() + timedelta(seconds=settings.OPERATION_LEASE_S)
    return bool(
        Operation.objects.filter(
            pk=operation.pk, status=Status.RUNNING, lease_owner=operation.lease_owner, attempts=operation.attempts
        ).update(lease_until=until)
    )


@transaction.atomic
def operation_progress(operation: Operation, *, step: str, progress: int) -> bool:
    """Say what is being done now; False when the operation is no longer this worker's."""
    until = now() + timedelta(seconds=settings.OPERATION_LEASE_S)
    row = (
        Operation.objects.select_for_update()
        .filter(pk=operation.pk, status=Status.RUNNING, lease_owner=operation.lease_owner, attempts=operation.attempts)
        .first()
    )
    if row is None:
        return False
    progress = max(row.progress, min(progress, 99))
    if row.step != step:
        row.steps = [*row.steps, {"step": step, "at": rfc3339(now())}][-50:]
    row.step, row.progress, row.lease_until = step[:120], progress, until
    row.save(update_fields=["step", "progress", "steps", "lease_until"])
    operation.step, operation.progress = row.step, row.progress
    _announce(row)
    return True


@transaction.atomic
def operation_postpone(operation: Operation, *, seconds: float, step: str) -> None:
    """Give a running operation back to the queue, to be tried again after ``seconds``; or end it, if it was called off."""
    row = _mine(operation)
    if row is None:
        return
    if row.cancel_requested_at is not None:
        _end(row, Status.CANCELLED, Failure("cancelled", _("Called off.")))
        return
    row.status, row.lease_owner, row.lease_until = Status.QUEUED, "", None
    row.not_before = now() + timedelta(seconds=seconds)
    row.step = step[:120]
    row.save(update_fields=["status", "lease_owner", "lease_until", "not_before", "step"])
    _announce(row)


def _mine(operation: Operation) -> Operation | None:
    return (
        Operation.objects.select_for_update()
        .filter(pk=operation.pk, status=Status.RUNNING, lease_owner=operation.lease_owner, attempts=operation.attempts)
        .first()
    )


@transaction.atomic
def operation_finish(operation: Operation, *, worker: str) -> bool:
    """The worker is done: succeeded. False when the operation was no longer its own."""
    row = _mine(operation)
    if row is None or row.lease_owner != worker:
        return False
    _end(row, Status.SUCCEEDED, None)
    return True


@transaction.atomic
def operation_fail(
    operation: Operation, failure: Failure, *, status: Status = Status.FAILED, worker: str | None = None
) -> bool:
    """End a live operation without success; False when it was over already.

    With ``worker`` only while it is that worker's attempt: one that thaws late must not end what another has taken up.
    """
    if worker is not None:
        row = _mine(operation)
        if row is None or row.lease_owner != worker:
            return False
    else:
        row = Operation.objects.select_for_update().filter(pk=operation.pk, status__in=LIVE).first()
    if row is None:
        return False
    _end(row, status, failure)
    return True


def _end(row: Operation, status: Status, failure: Failure | None) -> None:
    """Make terminal, settle, let go: one transaction, whoever ends it."""
    if not may_move(Status(row.status), status):
        raise Conflict(code="operation_over")
    row.status, row.finished_at = status, now()
    row.lease_owner, row.lease_until = "", None
    if status == Status.SUCCEEDED:
        row.progress, row.step = 100, ""
    if failure is not None:
        row.error_code, row.error_message = failure.code[:40], failure.message
        row.error_hint, row.error_detail = failure.hint, failure.detail[:4000]
    row.save()
    settle = kind_of(row.kind).settle
    if settle is not None:
        with _scope_of(row):
            settle(row)
    row.locks.all().delete()
    _announce(row)
    if row.parent_id is not None:
        _end_parent(row.parent_id)


def _scope_of(row: Operation) -> Any:
    return (
        tenant_scope(row.tenant) if row.tenant is not None else every_tenant(why="an operation on shared things ends")
    )


def _end_parent(pk: UUID) -> None:
    """A parent's progress is its children's; it ends with the last of them."""
    parent = Operation.objects.select_for_update().get(pk=pk)
    statuses = list(parent.children.values_list("status", flat=True))
    done = [s for s in statuses if s not in LIVE]
    if parent.status not in LIVE:
        return
    parent.progress = min(99, 100 * len(done) // max(1, len(statuses)))
    if len(done) < len(statuses):
        parent.save(update_fields=["progress"])
        _announce(parent)
        return
    failed = sum(s != Status.SUCCEEDED for s in done)
    if not failed:
        _end(parent, Status.SUCCEEDED, None)
        return
    _end(
        parent,
        Status.FAILED,
        Failure(
            "some_failed",
            _("%(failed)d of %(all)d did not succeed.") % {"failed": failed, "all": len(done)},
            _("Each one says why."),
        ),
    )


@transaction.atomic
def operation_cancel(operation: Operation, *, actor: Actor) -> Operation:
    """Call off: at once while queued, at the next step while running if its kind allows; raises ``Conflict`` otherwise.

    Of a parent, every child that still can be. Children are locked before their parent, in one order, as their own ends do.
    """
    actor.require(Permission.OPERATE if actor.tenant is None else Permission.OPERATION_CANCEL, operation)
    children = list(Operation.objects.select_for_update().filter(parent=operation.pk, status__in=LIVE).order_by("pk"))
    for child in children:
        if child.status == Status.QUEUED or kind_of(child.kind).cancellable:
            _call_off(child)
    row = Operation.objects.select_for_update().get(pk=operation.pk)
    if not children:
        _call_off(row)
    audit_record(actor, "operation.cancel", row, tenant=row.tenant)
    row.refresh_from_db()
    return row


def _call_off(row: Operation) -> None:
    if row.status not in LIVE:
        raise Conflict(_("This has ended already."), code="operation_over", hint="")
    if row.status == Status.QUEUED:
        _end(row, Status.CANCELLED, Failure("cancelled", _("Called off before it began.")))
    elif kind_of(row.kind).cancellable:
        row.cancel_requested_at = now()
        row.save(update_fields=["cancel_requested_at"])
        _announce(row)
    else:
        raise Conflict(_("This can no longer be called off."), code="not_cancellable", hint=_("It ends by itself."))


@transaction.atomic
def operation_retry(operation: Operation, *, actor: Actor) -> Operation:
    """An operator has the worker look at a waiting operation now, rather than when its back-off ends."""
    actor.require(Permission.OPERATE)
    if operation.lane:
        lane_open(operation.lane)  # before the row: whoever claims locks in this order
    row = Operation.objects.select_for_update().get(pk=operation.pk)
    if row.status != Status.QUEUED:
        raise Conflict(_("Only waiting work can be hurried."), code="not_waiting", hint="")
    row.not_before = now()
    row.save(update_fields=["not_before"])
    ring_on_commit(row)
    return row


def operations_expire(*, batch: int = 200) -> Iterable[UUID]:
    """One sweep: requeue lapsed leases, fail what is past its deadline or called off; yields what is due, to be rung."""
    at = now()
    lapsed = Operation.objects.filter(status=Status.RUNNING, lease_until__lt=at).order_by("lease_until")[:batch]
    for operation in lapsed:
        _requeue_lapsed(operation.pk, at)
    overdue = Operation.objects.filter(status=Status.QUEUED, deadline_at__lt=at).order_by("deadline_at")[:batch]
    for operation in overdue:
        operation_fail(
            operation,
            Failure(
                "timed_out",
                _("This could not be done in time."),
                _("Nothing more will be tried. Try again, or ask the operator about the host."),
                operation.step,
            ),
        )
    yield from (
        Operation.objects.filter(status=Status.QUEUED, not_before__lte=at)
        .order_by("not_before")
        .values_list("pk", flat=True)[:batch]
    )


@transaction.atomic
def _requeue_lapsed(pk: UUID, at: datetime) -> None:
    row = Operation.objects.select_for_update().filter(pk=pk, status=Status.RUNNING, lease_until__lt=at).first()
    if row is None:
        return
    if row.cancel_requested_at is not None:
        _end(row, Status.CANCELLED, Failure("cancelled", _("Called off.")))
        return
    row.status, row.lease_owner, row.lease_until, row.not_before = Status.QUEUED, "", None, at
    row.save(update_fields=["status", "lease_owner", "lease_until", "not_before"])
    _announce(row)


def _announce(operation: Operation) -> None:
    """Tell the tenant's pages; an operation without a tenant has nobody to tell."""
    if operation.tenant is None:
        return
    with tenant_scope(operation.tenant):
        event_append(operation.tenant, "operation.changed", "operation", operation.pk)
