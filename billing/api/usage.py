"""REST: usage records, as they were closed, and the proof that they are what the ledger says."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from ninja import Query, Router
from pydantic import BaseModel, Field

from billing.focus import as_csv
from billing.metering import HOUR, hour_of, unit_of
from billing.models import UsageRecord
from billing.selectors.focus import charges
from billing.selectors.proof import prove
from billing.selectors.records import as_closed, closed_until, final_until, first_id_of, first_unfinal
from portal.core.bodies import Listed, Moment, narrowed, narrowed_to, refuse_unknown
from portal.core.clock import now
from portal.core.errors import FieldError, Invalid
from portal.core.paging import LIMIT, LIMIT_MAX, Page, keyset_page
from tenants.policy import Permission
from tenants.types import HttpRequest

router = Router(tags=["billing"])
LONGEST: Final = timedelta(days=31)
CSV: Final = "text/csv; charset=utf-8"
ISSUER: Final = "Guesthouse"
"""Whom charges name as their provider: an installation has no other name of its own."""


class UsageRecordOut(BaseModel):
    """So much of a meter in `[window_start, window_end)`. What it says never changes, but `state` becomes final."""

    id: str = Field(description="The same for the same resource, meter, beginning and revision.")
    seq: int = Field(description="Rises within a tenant in the order of recording.")
    tenant: str
    resource_id: str
    resource_type: str
    meter: str
    window_start: datetime
    window_end: datetime = Field(
        description="The window does not hold it; where it is `window_start`, nothing was used."
    )
    quantity: str = Field(description="A decimal string, in `unit`.")
    unit: str
    attributes: dict[str, Any]
    state: Literal["provisional", "final"] = Field(description="Final six hours after its hour was closed.")
    revision: int
    supersedes: str | None = Field(description="The id of the record that it replaces.")
    correction: bool = Field(description="Written after its hour was final.")
    recorded_at: datetime = Field(description="The end of the hour with which it was closed.")


class Period(BaseModel):
    """Whose usage, and from when to when."""

    tenant: str = Field(default="", max_length=63, description="A short name. Operators may leave it out: all of them.")
    since: Moment | None = Field(default=None, alias="from", description="Records that begin at or after.")
    until: Moment | None = Field(default=None, alias="to", description="Records that begin before.")


class UsageRecordQuery(Period):
    """Filters of usage records."""

    limit: int = Field(default=LIMIT, ge=1, le=LIMIT_MAX)
    cursor: str = Field(default="", max_length=1000, description="`next` of the page before.")
    meter: str = Field(default="", max_length=40)
    resource_id: str = Field(default="", max_length=40)
    state: Literal["", "provisional", "final"] = ""


class UsageRecordFileQuery(UsageRecordQuery):
    """The same, or a format of its own."""

    format: Literal["", "focus"] = Field(
        default="", description="`focus`: FOCUS 1.2, narrowed by tenant and time only."
    )


class ProofOut(BaseModel):
    """What a second count found. Keep `digest`: for the same closed period it is the same, until a correction is recorded."""

    tenant: str
    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to", description="No later than the last hour that is closed.")
    ok: bool
    records: int
    resources: int
    seconds: int = Field(description="All windows together.")
    pending: int = Field(description="Things of which a later closing will record something more.")
    digest: str = Field(description="SHA-256 of every record that stands in the period.")
    findings: list[str]


def allow(request: HttpRequest, query: Period) -> None:
    """Raise ``Forbidden`` unless they may see this tenant's usage, or, where none is named, everybody's.

    Where none is named nobody but operators has any permission, and a token of theirs those that it is cut to.
    """
    refuse_unknown(request, query)
    request.actor.require(Permission.USAGE_VIEW)


def refuse_backwards(query: Period) -> None:
    """Raise ``Invalid`` at a period that has not begun, or ends before it begins."""
    if query.since is not None and query.since > now():
        raise Invalid(errors=[FieldError("/from", "future", _("This period has not begun."))])
    if query.since is not None and query.until is not None and query.until <= query.since:
        raise Invalid(errors=[FieldError("/to", "order", _("A period ends after it begins."))])


@router.get("/billing/usage-records", response=Listed[UsageRecordOut], summary="List usage records")
def usage_record_list(request: HttpRequest, query: Query[UsageRecordQuery]) -> dict[str, Any]:
    """What was used, hour by hour, from the ledger's closed hours.

    With `from` or `to`: what stood when those hours became final, in order of time; of hours that are final the answer is the
    same for ever. Without: every record ever written, revisions and corrections among them, in the order of recording; go on
    from the last cursor to learn what is new.
    """
    page = _page(request, query)
    return {"items": page.items, "next": page.next}


@router.get("/billing/usage-records.csv", response={200: None}, summary="List usage records as CSV")
def usage_record_csv(request: HttpRequest, query: Query[UsageRecordFileQuery]) -> HttpResponseBase:
    """The same page as a table; `Link` names the next one.

    With `format=focus` all of it at once, rated, as FOCUS 1.2: a row for each day, thing, meter and price. Of a whole month
    (in UTC) the rows that are no tax add up to the statement's net, and all of them to its gross; `InvoiceId` is there once it
    was issued.
    """
    if query.format == "focus":
        return _focus(request, query)
    page = _page(request, query)
    text = io.StringIO()
    table = csv.writer(text)
    columns = list(UsageRecordOut.model_fields)
    table.writerow(columns)
    table.writerows([_cell(getattr(item, name)) for name in columns] for item in page.items)
    answer = HttpResponse(text.getvalue(), content_type=CSV)
    if page.next is not None:
        words = {**{name: value for name, value in request.GET.items() if name != "cursor"}, "cursor": page.next}
        answer["Link"] = f'<{request.path}?{urlencode(words)}>; rel="next"'
    return answer


@router.get("/billing/verify", response=ProofOut, by_alias=True, summary="Prove usage records")
def usage_verify(request: HttpRequest, query: Query[Period]) -> ProofOut:
    """Counts the ledger again and compares: every record once, no gap, no overlap, all windows the lifetime to the second.

    Without `from` and `to` the last 31 days; no more at once.
    """
    allow(request, query)
    refuse_backwards(query)
    until = hour_of(query.until or closed_until() or now())
    since = hour_of(query.since or until - LONGEST)
    if until - since > LONGEST:
        raise Invalid(errors=[FieldError("/from", "too_long", _("At most 31 days at once."))])
    proof = prove(since, until, request.actor.tenant)
    tenant = request.actor.tenant
    return ProofOut(
        tenant=tenant.slug if tenant is not None else "", since=proof.since, until=proof.until, ok=proof.is_whole,
        records=proof.records, resources=proof.resources, seconds=proof.seconds, pending=proof.pending,
        digest=proof.digest, findings=proof.findings,
    )  # fmt: skip


def _focus(request: HttpRequest, query: UsageRecordFileQuery) -> StreamingHttpResponse:
    allow(request, query)
    refuse_backwards(query)
    others = sorted({"limit", "cursor", "meter", "resource_id", "state"} & set(request.GET))
    if others:
        message = _("There is no such parameter in this format.")
        raise Invalid(errors=[FieldError(f"/{name}", "unknown_parameter", message) for name in others])
    rows = charges(request.actor.tenant, query.since, query.until, issuer=ISSUER)
    answer = StreamingHttpResponse(as_csv(rows), content_type=CSV)
    answer["Content-Disposition"] = 'attachment; filename="focus.csv"'
    return answer


def _page(request: HttpRequest, query: UsageRecordQuery) -> Page[UsageRecordOut]:
    allow(request, query)
    refuse_backwards(query)
    final = final_until()
    rows, order = _asked(request, query, final)
    page = keyset_page(rows, sorts={"order": order}, sort="order", limit=query.limit, cursor=query.cursor)
    return page.of([record_out(row, final) for row in page.items])


def _asked(
    request: HttpRequest, query: UsageRecordQuery, final: datetime | None
) -> tuple[QuerySet[UsageRecord], tuple[str, ...]]:
    """The rows and their order; each is one range of one index, however many records there are."""
    tenant = request.actor.tenant
    rows = UsageRecord.objects.select_related("tenant")
    rows = narrowed_to(narrowed(rows, tenant=tenant, meter=query.meter), resource_id=query.resource_id)
    since, until = query.since, query.until
    if query.state and final is None:
        return rows.none(), ("id",)
    if query.state == "provisional":
        since = max(since, final) if since is not None and final is not None else final
    if since is None and until is None:
        if query.state == "final":
            bound = first_unfinal()
            rows = rows.filter(id__lt=bound) if bound is not None else rows
        return rows, ("seq",) if tenant is not None else ("id",)
    if query.state == "final" and final is not None:
        until = min(until, final) if until is not None else final
    rows = as_closed(narrowed(rows, window_start__gte=since, window_start__lt=until))
    if tenant is not None:
        return rows, ("window_start", "seq")
    return rows.filter(id__gte=first_id_of(since)) if since is not None else rows, ("id",)


def record_out(row: UsageRecord, final: datetime | None) -> UsageRecordOut:
    """A record as JSON shows it; ``final``: up to when hours are."""
    is_final = final is not None and hour_of(row.window_start) + HOUR <= final
    return UsageRecordOut(
        id=str(row.public_id), seq=row.seq, tenant=row.tenant.slug, resource_id=str(row.resource_id),
        resource_type=row.resource_type, meter=row.meter, window_start=row.window_start, window_end=row.window_end,
        quantity=str(row.quantity), unit=unit_of(row.meter), attributes=row.attributes,
        state="final" if is_final else "provisional", revision=row.revision,
        supersedes=str(row.supersedes) if row.supersedes is not None else None, correction=row.correction,
        recorded_at=row.recorded_at,
    )  # fmt: skip


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return ";".join(f"{name}={value[name]}" for name in sorted(value))
    return "" if value is None else str(value)
