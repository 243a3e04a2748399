"""REST: asking for a larger quota, and the answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from portal.core.bodies import Body, Listed, Listing, Moment, Nothing, listed
from portal.core.etags import etag_of, find
from tenants.api.limits import Amount
from tenants.api.people import PersonOut, person_out
from tenants.api.tenants import tenant_in_path
from tenants.listings import QUOTA_REQUEST_SORTS, quota_requests
from tenants.models import QuotaRequest, RequestState
from tenants.policy import Permission
from tenants.services.quota import (
    quota_request_approve,
    quota_request_decline,
    quota_request_make,
    quota_request_withdraw,
)
from tenants.types import HttpRequest

router = Router(tags=["quota"])
operators = Router(tags=["operators: tenants"])


class QuotaRequestOut(BaseModel):
    """A wish for other limits; `granted` ones end by themselves at `until`, and nothing that runs is stopped then."""

    id: str
    tenant: str
    wanted: dict[str, int]
    wanted_until: datetime | None
    reason: str
    state: RequestState
    asked_by: PersonOut | None
    created_at: datetime
    given: dict[str, int] | None
    until: datetime | None
    answer: str
    decided_at: datetime | None


class QuotaRequestQuery(Listing):
    """Filters of requests; `q` looks into the reason."""

    sort: str = Field(default="-created_at", max_length=40, description="`created_at`, or `-created_at`")
    state: RequestState | None = None


class QuotaRequestIn(Body):
    """Limits that are wanted, by resource, and why."""

    wanted: dict[str, Amount] = Field(min_length=1, max_length=50)
    reason: str = Field(min_length=1, max_length=1000)
    until: Moment | None = Field(default=None, description="Until when they are needed; null is for good.")


class ApprovalIn(Body):
    """What is given: with `limits` left out all that was asked for, with `until` only so long."""

    limits: dict[str, Amount] | None = Field(default=None, max_length=50)
    until: Moment | None = None
    answer: str = Field(default="", max_length=1000)


class RefusalIn(Body):
    """Why not."""

    answer: str = Field(min_length=1, max_length=1000)


def _out(row: QuotaRequest) -> QuotaRequestOut:
    return QuotaRequestOut(
        id=str(row.pk),
        tenant=row.tenant.slug,
        wanted=row.wanted,
        wanted_until=row.wanted_until,
        reason=row.reason,
        state=RequestState(row.state),
        asked_by=person_out(row.asked_by) if row.asked_by is not None else None,
        created_at=row.created_at,
        given=row.given,
        until=row.until,
        answer=row.answer,
        decided_at=row.decided_at,
    )


def _shown(response: HttpResponse, row: QuotaRequest) -> QuotaRequestOut:
    response["ETag"] = etag_of(row)
    return _out(row)


def _list(request: HttpRequest, query: QuotaRequestQuery) -> dict[str, Any]:
    rows = quota_requests()
    if query.state is not None:
        rows = rows.filter(state=query.state)
    if query.q:
        rows = rows.filter(reason__icontains=query.q)
    return listed(request, query, rows, sorts=QUOTA_REQUEST_SORTS, out=_out)


@router.get("/quota-requests", response=Listed[QuotaRequestOut], summary="List quota requests")
def quota_request_list(request: HttpRequest, query: Query[QuotaRequestQuery]) -> dict[str, Any]:
    """What was asked for, and what became of it."""
    request.actor.require(Permission.QUOTA_VIEW)
    return _list(request, query)


@router.post("/quota-requests", response={201: QuotaRequestOut}, summary="Ask for a larger quota")
def quota_request_post(request: HttpRequest, response: HttpResponse, body: QuotaRequestIn) -> Status[QuotaRequestOut]:
    """An operator decides; whoever asked is told."""
    tenant = tenant_in_path(request)
    row = quota_request_make(tenant, body.wanted, reason=body.reason, until=body.until, actor=request.actor)
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/quota-requests/{row.pk}"
    return Status(201, _shown(response, row))


@router.get("/quota-requests/{request_id}", response=QuotaRequestOut, summary="Get a quota request")
def quota_request_get(request: HttpRequest, request_id: str, response: HttpResponse) -> QuotaRequestOut:
    """One request and its answer."""
    request.actor.require(Permission.QUOTA_VIEW)
    return _shown(response, find(request, quota_requests(), request_id))


@router.post("/quota-requests/{request_id}/withdraw", response=QuotaRequestOut, summary="Withdraw a quota request")
def quota_request_withdraw_post(
    request: HttpRequest, request_id: str, response: HttpResponse, body: Nothing | None = None
) -> QuotaRequestOut:
    """Only while it waits."""
    row = find(request, quota_requests(), request_id)
    return _shown(response, quota_request_withdraw(row, actor=request.actor))


@operators.get("/quota-requests", response=Listed[QuotaRequestOut], summary="List all projects' quota requests")
def quota_request_list_all(request: HttpRequest, query: Query[QuotaRequestQuery]) -> dict[str, Any]:
    """`?state=pending` are those that wait for an operator."""
    request.actor.require(Permission.OPERATE)
    return _list(request, query)


@operators.get("/quota-requests/{request_id}", response=QuotaRequestOut, summary="Get any project's quota request")
def quota_request_get_any(request: HttpRequest, request_id: str, response: HttpResponse) -> QuotaRequestOut:
    """One request and its answer."""
    request.actor.require(Permission.OPERATE)
    return _shown(response, find(request, quota_requests(), request_id))


@operators.post("/quota-requests/{request_id}/approve", response=QuotaRequestOut, summary="Grant a quota request")
def quota_request_approve_post(
    request: HttpRequest, request_id: str, response: HttpResponse, body: ApprovalIn | None = None
) -> QuotaRequestOut:
    """For good, or with `until` for a while; all of it, or with `limits` a part."""
    request.actor.require(Permission.OPERATE)
    row, given = find(request, quota_requests(), request_id), body or ApprovalIn()
    row = quota_request_approve(row, limits=given.limits, until=given.until, answer=given.answer, actor=request.actor)
    return _shown(response, row)


@operators.post("/quota-requests/{request_id}/decline", response=QuotaRequestOut, summary="Decline a quota request")
def quota_request_decline_post(
    request: HttpRequest, request_id: str, response: HttpResponse, body: RefusalIn
) -> QuotaRequestOut:
    """In words that whoever asked can read."""
    request.actor.require(Permission.OPERATE)
    row = find(request, quota_requests(), request_id)
    return _shown(response, quota_request_decline(row, answer=body.answer, actor=request.actor))
