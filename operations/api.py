"""REST: operations of a tenant, and all of them for operators."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from operations.models import Operation
from operations.selectors import OPERATION_SORTS, operation_can_cancel, operation_label, operations_visible
from operations.services import operation_cancel, operation_retry
from operations.states import Status as OperationStatus
from portal.core.bodies import Listed, Listing, Nothing, listed, narrowed, narrowed_to
from portal.core.etags import find
from tenants.policy import Permission
from tenants.types import HttpRequest

router = Router(tags=["operations"])
operators = Router(tags=["operators: operations"])


class SubjectOut(BaseModel):
    """What an operation is about."""

    type: str
    id: str
    name: str


class ErrorOut(BaseModel):
    """Why an operation failed, and what to do next; `detail` is what the host said, for operators."""

    code: str
    message: str
    hint: str
    detail: str | None = None


class ChildOut(BaseModel):
    """Long work: what was asked, how far it got, how it ended."""

    id: str
    kind: str
    label: str = Field(description="The same as a sentence.")
    subject: SubjectOut
    status: OperationStatus
    progress: int = Field(ge=0, le=100)
    step: str
    error: ErrorOut | None
    cancellable: bool = Field(description="Would `cancel` be heard now?")
    parent: str | None
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class OperationOut(ChildOut):
    """An operation, with its children where it stands for many; `tenant` is for operators."""

    children: list[ChildOut]
    tenant: str | None = None


class OperationQuery(Listing):
    """Filters of operations."""

    sort: str = Field(default="-created_at", max_length=40, description="`created_at`, `-created_at`")
    status: OperationStatus | None = None
    kind: str = Field(default="", max_length=40)
    subject_id: str = Field(default="", max_length=40, description="Of one thing.")
    parent: str = Field(default="", max_length=40, description="Children of one.")


def operation_out(operation: Operation, *, operator: bool = False) -> OperationOut:
    """An operation as JSON shows it; what a host said only to operators."""
    out = OperationOut(
        **_facts(operation, operator=operator),
        children=[ChildOut(**_facts(child, operator=operator)) for child in operation.children.all()],
    )
    if operator:
        out.tenant = operation.tenant.slug if operation.tenant is not None else None
    return out


def _facts(operation: Operation, *, operator: bool) -> dict[str, Any]:
    error = None
    if operation.error_code:
        error = ErrorOut(code=operation.error_code, message=operation.error_message, hint=operation.error_hint)
        if operator:
            error.detail = operation.error_detail
    return {
        "id": str(operation.pk),
        "kind": operation.kind,
        "label": operation_label(operation),
        "subject": SubjectOut(type=operation.subject_type, id=str(operation.subject_id), name=operation.subject_name),
        "status": operation.status,
        "progress": operation.progress,
        "step": operation.step,
        "error": error,
        "cancellable": operation_can_cancel(operation),
        "parent": str(operation.parent_id) if operation.parent_id else None,
        "requested_by": operation.requested_label,
        "created_at": operation.created_at,
        "started_at": operation.started_at,
        "finished_at": operation.finished_at,
    }


def operation_url(operation: Operation) -> str:
    """Where an operation can be watched."""
    if operation.tenant is None:
        return f"/api/v1/operations/{operation.pk}"
    return f"/api/v1/tenants/{operation.tenant.slug}/operations/{operation.pk}"


def accepted(request: HttpRequest, response: HttpResponse, operation: Operation) -> Status[OperationOut]:
    """The answer to whoever started long work: 202, the operation, and where to watch it."""
    response["Location"] = operation_url(operation)
    return Status(202, operation_out(operation, operator=request.actor.is_operator))


def _list(request: HttpRequest, query: OperationQuery) -> dict[str, Any]:
    return listed(
        request, query, _filtered(operations_visible(request.actor), query), sorts=OPERATION_SORTS,
        out=lambda row: operation_out(row, operator=request.actor.is_operator),
    )  # fmt: skip


def _filtered(rows: QuerySet[Operation], query: OperationQuery) -> QuerySet[Operation]:
    rows = narrowed(rows, status=query.status, kind=query.kind, subject_name__icontains=query.q)
    return narrowed_to(rows, subject_id=query.subject_id, parent=query.parent)


def _get(request: HttpRequest, response: HttpResponse, operation_id: str) -> OperationOut:
    """One operation; a live one is marked for the long poll (``operations.waiting``)."""
    operation = find(request, operations_visible(request.actor), operation_id)
    response["ETag"] = f'"operation-{operation.pk}-{operation.status}-{int(operation.cancel_requested_at is not None)}"'
    if operation.is_live:
        response["x-operation-live"] = "1"
    return operation_out(operation, operator=request.actor.is_operator)


WAIT = {
    "parameters": [
        {
            "in": "query",
            "name": "wait",
            "required": False,
            "description": "Answer only once it has ended, or after this many seconds (at most 60).",
            "schema": {"type": "number", "minimum": 0, "maximum": 60},
        }
    ]
}


@router.get("/operations", response=Listed[OperationOut], exclude_unset=True, summary="List operations")
def operation_list(request: HttpRequest, query: Query[OperationQuery]) -> dict[str, Any]:
    """What was asked in this project, newest first."""
    request.actor.require(Permission.OPERATION_VIEW)
    return _list(request, query)


@router.get(
    "/operations/{operation_id}", response=OperationOut, exclude_unset=True, summary="Get an operation",
    openapi_extra=WAIT,
)  # fmt: skip
def operation_get(request: HttpRequest, operation_id: str, response: HttpResponse) -> OperationOut:
    """How far it got; `?wait=` waits for its end."""
    request.actor.require(Permission.OPERATION_VIEW)
    return _get(request, response, operation_id)


@router.post(
    "/operations/{operation_id}/cancel", response=OperationOut, exclude_unset=True, summary="Cancel an operation"
)
def operation_cancel_post(request: HttpRequest, operation_id: str, body: Nothing | None = None) -> OperationOut:
    """Call it off: at once while it is queued, at its next step where its kind allows that; else 409."""
    operation = find(request, operations_visible(request.actor), operation_id)
    row = operation_cancel(operation, actor=request.actor)
    return operation_out(row, operator=request.actor.is_operator)


@operators.get("/operations", response=Listed[OperationOut], exclude_unset=True, summary="List all operations")
def all_operation_list(request: HttpRequest, query: Query[OperationQuery]) -> dict[str, Any]:
    """Operations of all projects, and those on hosts and images, newest first."""
    request.actor.require(Permission.OPERATE)
    return _list(request, query)


@operators.get(
    "/operations/{operation_id}", response=OperationOut, exclude_unset=True, summary="Get any operation",
    openapi_extra=WAIT,
)  # fmt: skip
def any_operation_get(request: HttpRequest, operation_id: str, response: HttpResponse) -> OperationOut:
    """How far it got and, where it failed, what the host said."""
    request.actor.require(Permission.OPERATE)
    return _get(request, response, operation_id)


@operators.post(
    "/operations/{operation_id}/cancel", response=OperationOut, exclude_unset=True, summary="Cancel any operation"
)
def any_operation_cancel(request: HttpRequest, operation_id: str, body: Nothing | None = None) -> OperationOut:
    """Call it off, whoever asked for it."""
    request.actor.require(Permission.OPERATE)
    operation = find(request, operations_visible(request.actor), operation_id)
    return operation_out(operation_cancel(operation, actor=request.actor), operator=True)


@operators.post(
    "/operations/{operation_id}/retry", response=OperationOut, exclude_unset=True, summary="Hurry an operation"
)
def any_operation_retry(request: HttpRequest, operation_id: str, body: Nothing | None = None) -> OperationOut:
    """Have a worker look at a waiting operation now, rather than when its back-off ends."""
    request.actor.require(Permission.OPERATE)
    operation = find(request, operations_visible(request.actor), operation_id)
    return operation_out(operation_retry(operation, actor=request.actor), operator=True)
