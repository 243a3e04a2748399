"""What pages show of an operation: sentence, icon, progress and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.selectors import operation_can_cancel, operation_label
from operations.states import LIVE, Status
from tenants.actors import Actor
from tenants.policy import Permission

STATUS: Final[dict[str, str | Promise]] = {
    Status.QUEUED: gettext_lazy("Waiting"),
    Status.RUNNING: gettext_lazy("Running"),
    Status.SUCCEEDED: gettext_lazy("Done"),
    Status.FAILED: gettext_lazy("Failed"),
    Status.CANCELLED: gettext_lazy("Called off"),
}
ICONS: Final = {
    "batch": "plus",
    "create": "plus",
    "start": "player-play",
    "resume": "player-play",
    "shutdown": "power",
    "stop": "player-stop",
    "reboot": "refresh",
    "reset": "rotate",
    "pause": "player-pause",
    "suspend": "moon",
    "wake": "sun",
    "delete": "trash",
    "purge": "trash",
    "restore": "arrow-back-up",
    "probe": "plug-connected",
    "import": "photo",
    "attach": "plug-connected",
    "detach": "plug-connected-x",
    "insert": "disc",
    "eject": "disc",
    "extend": "maximize",
    "limit": "gauge",
}
"""By the verb of the kind."""


@dataclass(frozen=True, slots=True)
class SubjectShown:
    """What an operation is about; without an address where there is no page of it."""

    type: str
    id: UUID
    name: str
    url: str


@dataclass(frozen=True, slots=True)
class ErrorShown:
    """Why it failed, and what to do next."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class OperationShown:
    """An operation for ``operations/_operation.html`` and the pages around it."""

    pk: UUID
    kind: str
    icon: str
    label: str
    status: str
    status_label: str
    live: bool
    progress: int
    step: str
    error: ErrorShown | None
    subject: SubjectShown
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    may_cancel: bool
    children: tuple[OperationShown, ...] = ()


def operation_shown(operation: Operation, actor: Actor, *, children: Sequence[Operation] = ()) -> OperationShown:
    """An operation as ``actor`` may see it; asks the database nothing."""
    live = operation.status in LIVE
    error = None
    if operation.status == Status.FAILED:
        error = ErrorShown(operation.error_code, operation.error_message, operation.error_hint)
    return OperationShown(
        pk=operation.pk,
        kind=operation.kind,
        icon=ICONS.get(operation.kind.partition(".")[2], "activity"),
        label=operation_label(operation),
        status=operation.status,
        status_label=str(STATUS[operation.status]),
        live=live,
        progress=operation.progress,
        step=_step(operation),
        error=error,
        subject=_subject(operation, actor),
        requested_by=operation.requested_label if operation.requested_by_id else _("The portal"),
        created_at=operation.created_at,
        started_at=operation.started_at,
        finished_at=operation.finished_at,
        may_cancel=operation_can_cancel(operation) and actor.may(Permission.OPERATION_CANCEL, operation),
        children=tuple(operation_shown(child, actor) for child in children),
    )


def _step(operation: Operation) -> str:
    if operation.cancel_requested_at is not None and operation.status in LIVE:
        return _("Being called off")
    if operation.status == Status.QUEUED and not operation.step:
        return _("Waiting for its turn")
    return operation.step or _("Just begun")


def _subject(operation: Operation, actor: Actor) -> SubjectShown:
    url = ""
    removed = operation.kind == "guest.purge" and operation.status == Status.SUCCEEDED
    if operation.subject_type == "guest" and actor.tenant is not None and not removed:
        url = reverse("vms:guest_detail", args=[actor.tenant.slug, operation.subject_id])
    return SubjectShown(operation.subject_type, operation.subject_id, operation.subject_name, url)


def steps_shown(operation: Operation) -> list[dict[str, Any]]:
    """The way so far: each step with when it began, and whether it is done, under way or where it failed."""
    last = {Status.FAILED: "failed", Status.SUCCEEDED: "done", Status.CANCELLED: "failed"}.get(
        Status(operation.status), "now"
    )
    count = len(operation.steps)
    return [
        {
            "label": step["step"],
            "at": parse_datetime(step["at"]),
            "state": last if number == count else "done",
        }
        for number, step in enumerate(operation.steps, start=1)
    ]
