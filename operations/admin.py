"""Operations of all tenants: how far they got, why they failed (in the host's own words), hurried or called off."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.registry import kind_of, kinds
from operations.services import operation_cancel, operation_retry
from operations.states import Status
from portal.admin_base import ServiceAdmin
from portal.admin_deeds import Forecast, deed
from portal.admin_shown import Note, Panel, choice, column, labelled, moment, mono, state, verbatim
from tenants.actors import Actor

STATUS_WORDS = {
    Status.QUEUED: gettext_lazy("Waiting"),
    Status.RUNNING: gettext_lazy("Running"),
    Status.SUCCEEDED: gettext_lazy("Succeeded"),
    Status.FAILED: gettext_lazy("Failed"),
    Status.CANCELLED: gettext_lazy("Called off"),
}
SHAPES = {Status.QUEUED: "paused", Status.RUNNING: "building"}


def operation_label(operation: Operation) -> str:
    """``Create web-1``; the bare kind for one that is no longer known."""
    known = kinds().get(operation.kind)
    return str(known.label) % {"name": operation.subject_name} if known else str(operation)


ByStatus = choice("status", gettext_lazy("status"), STATUS_WORDS.items, lambda status: Q(status=status))
ByKind = choice(  # from what is declared and not from what happened
    "kind", gettext_lazy("kind"), lambda: [(name, name) for name in sorted(kinds())], lambda kind: Q(kind=kind)
)


def _hurries(self: Any, operation: Operation, actor: Actor) -> Forecast:
    if operation.status != Status.QUEUED:
        return Forecast(False, _("is %s: only waiting work can be hurried") % STATUS_WORDS[Status(operation.status)])
    return Forecast(True, _("is tried again now"))


def _cancels(self: Any, operation: Operation, actor: Actor) -> Forecast:
    if not operation.is_live:
        return Forecast(False, _("has ended already"))
    kind = kind_of(operation.kind)
    if operation.goes_through or (operation.status == Status.RUNNING and not (kind.cancellable or kind.group)):
        return Forecast(False, _("can no longer be called off"))
    return Forecast(True, _("is called off"))


@admin.register(Operation)
class OperationAdmin(ServiceAdmin):
    """Operations."""

    plural = gettext_lazy("Operations")
    lede = gettext_lazy("Everything that was asked, of all tenants, newest first.")
    list_display = ("what", "shown_status", "tenant", "step_shown", "who", "attempts", "made")
    list_filter = (ByStatus, ByKind)
    list_select_related = ("tenant",)
    search_fields = ("subject_name",)
    search_help_text = gettext_lazy("Name of a machine or host, id of an operation or of what it is about, or a tenant")
    ordering = ("-pk",)
    fieldsets = (
        (gettext_lazy("Now"), {"fields": ("shown_status", "step_shown", "tenant", "about")}),
        (
            gettext_lazy("Why it failed"),
            {"fields": ("message", "hint", "code", "detail")},
        ),
        (
            gettext_lazy("Work"),
            {"fields": ("kind", "attempts", "lane", "worker", "next_try", "ends", "parent_shown", "uuid")},
        ),
        (
            gettext_lazy("Who asked"),
            {"fields": ("who", "how", "request", "made", "began", "ended")},
        ),
    )

    message = column("error_message", gettext_lazy("What the customer reads"))
    hint = column("error_hint", gettext_lazy("What to do next"))
    code = column("error_code", gettext_lazy("Code"))
    detail = column("error_detail", gettext_lazy("What the host said"), verbatim)
    parent_shown = column("parent", gettext_lazy("Part of"), labelled)
    uuid = column("pk", gettext_lazy("Id"), mono)
    worker = column("lease_owner", gettext_lazy("Held by"))
    who = column("requested_label", gettext_lazy("Who"))
    how = column("requested_via", gettext_lazy("Through"))
    request = column("request_id", gettext_lazy("Request"))
    made = moment("created_at", gettext_lazy("Asked"))
    began = moment("started_at", gettext_lazy("Began"))
    ended = moment("finished_at", gettext_lazy("Ended"))
    next_try = moment("not_before", gettext_lazy("Next try not before"))
    ends = moment("deadline_at", gettext_lazy("Given up at"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """An id finds the operation, or those about the thing; anything else is part of a name or a tenant's slug."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            one = UUID(term)
        except ValueError:
            return queryset.filter(Q(subject_name__icontains=term) | Q(tenant__slug__icontains=term)), False
        return queryset.filter(Q(pk=one) | Q(subject_id=one)), False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Why it failed stands first, and only where it did."""
        now, why, *rest = self.fieldsets
        return (why, now, *rest) if obj is not None and obj.error_code else (now, *rest)

    def heading(self, row: Operation) -> str:
        return operation_label(row)

    @admin.display(description=gettext_lazy("What"), ordering="kind")
    def what(self, operation: Operation) -> str:
        return operation_label(operation)

    @admin.display(description=gettext_lazy("Status"), ordering="status")
    def shown_status(self, operation: Operation) -> str:
        status = Status(operation.status)
        return state(SHAPES.get(status, status.value), STATUS_WORDS[status])

    @admin.display(description=gettext_lazy("Step"))
    def step_shown(self, operation: Operation) -> str:
        if operation.is_live:
            return f"{operation.step or '–'} · {operation.progress}%"
        return operation.error_message or "–"

    @admin.display(description=gettext_lazy("About"))
    def about(self, operation: Operation) -> str:
        return f"{operation.subject_type} {operation.subject_name}"

    def notes(self, operation: Operation) -> Iterable[Note]:
        if operation.status == Status.FAILED:
            yield Note("red", operation.error_message, operation.error_hint)
        if operation.cancel_requested_at is not None and operation.is_live:
            yield Note("amber", _("It is being called off at its next step."))

    def panels(self, operation: Operation) -> Iterable[Panel]:
        yield Panel(
            _("Steps"),
            [_("Step"), _("When")],
            [_step(step) for step in operation.steps],
            _("It has not said anything yet."),
        )
        children = operation.children.order_by("pk")[:50]
        if children:
            yield Panel(
                _("Parts"),
                [_("What"), _("Status"), _("Why it failed")],
                [(labelled(child, operation_label(child)), child.status, child.error_message) for child in children],
            )
        yield Panel(
            _("Holds"),
            [_("What"), _("Id"), _("How")],
            [
                (lock.resource_type, str(lock.resource_id), _("alone") if lock.exclusive else _("shared"))
                for lock in operation.locks.all()
            ],
            _("Nothing."),
        )

    @deed(
        gettext_lazy("Try again now"),
        explain=gettext_lazy("A worker looks at waiting work at once, rather than when its pause ends; its lane is opened."),
        icon="refresh", many=True, foresee=_hurries,
    )  # fmt: skip
    def retry(self, operation: Operation, actor: Actor, answers: dict[str, Any]) -> str:
        operation_retry(operation, actor=actor)
        return _("%s is tried again.") % operation_label(operation)

    @deed(
        gettext_lazy("Call off"),
        explain=gettext_lazy("Ends it at once while it waits, at its next step while it runs. What it held is returned."),
        icon="x", many=True, danger=True, foresee=_cancels,
    )  # fmt: skip
    def cancel(self, operation: Operation, actor: Actor, answers: dict[str, Any]) -> str:
        operation_cancel(operation, actor=actor)
        return _("%s is called off.") % operation_label(operation)


def _step(step: Any) -> tuple[str, str]:
    """A step as the runner wrote it: ``{"step", "at"}``, or a bare word."""
    if not isinstance(step, dict):
        return str(step), "–"
    return str(step.get("step", "")), str(step.get("at", "–"))
