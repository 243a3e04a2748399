"""Work is written down here, with what it holds for its life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from operations.dispatch import ring_on_commit
from operations.models import Operation, OperationLock
from operations.registry import kind_of
from operations.services.announce import announce
from operations.states import Status
from portal.core.clock import now
from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.models import Tenant

LONG_S = 86400
"""Long work waits for other long work first; no deadline of it is shorter."""


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
    after: Operation | None = None,
    long: bool = False,
) -> Operation:
    """Write down work to be done and ring for a worker on commit; runs in the caller's transaction.

    Raises ``Conflict`` (``operation_in_progress``) while something it would hold is held. ``params`` carry ids and plain
    values, never secrets. What ``after`` holds, an operation that is just being settled, passes to the new one without a
    moment between in which somebody else could have it. ``long`` where this one is, though not all of its kind are.
    """
    owner = tenant or getattr(subject, "tenant", None)
    declared = kind_of(kind)
    is_long = long or declared.long
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
        long=is_long,
        requested_by=actor.user,
        requested_label=actor.label,
        requested_via=actor.via,
        request_id=actor.request_id,
        deadline_at=at + timedelta(seconds=max(declared.deadline_s, LONG_S) if is_long else declared.deadline_s),
        not_before=at,
        created_at=at,
        status=Status.RUNNING if declared.group else Status.QUEUED,
        started_at=at if declared.group else None,
    )
    if after is not None:
        after.locks.update(operation=operation)
    for hold in holds:
        _hold(operation, hold)
    announce(operation)
    if operation.status == Status.QUEUED:
        ring_on_commit(operation)
    return operation


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


def _hold(operation: Operation, hold: Hold) -> None:
    # Not the operation that has it as well: it locks itself first and its holds last when it ends.
    others = OperationLock.objects.select_for_update(of=("self",)).filter(
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
