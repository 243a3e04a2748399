"""REST: what a tenant owes, month by month."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.http import HttpResponse
from ninja import Path, Router
from pydantic import BaseModel, Field

from billing.papers import as_csv
from billing.printing import as_pdf
from billing.selectors.statements import statement, statements
from portal.core.errors import Missing
from tenants.policy import Permission
from tenants.types import HttpRequest

router = Router(tags=["billing"])
ONE = "/billing/tenants/{tenant}/statements"


class MoneyOut(BaseModel):
    """An amount, as a decimal string."""

    currency: str
    amount: str


class LineOut(BaseModel):
    """What one meter, word and price come to; lines add up to the total as they are shown."""

    kind: Literal["usage", "correction"] = Field(
        description="A correction is what a month that was final was wrong by."
    )
    meter: str
    word: str = Field(description="The flavor, storage class or backup store; empty for all of the meter.")
    unit: str
    unit_hours: str = Field(description="To six digits, for people; `unit_seconds` is exact.")
    unit_seconds: str = Field(description="In what the ledger counts: memory in MiB.")
    price: str = Field(description="For one unit and hour, as it held when the hour, or the piece of it, began.")
    currency: str
    amount: str = Field(description="Rounded once, half a coin up; without tax.")
    tax_percent: str | None = Field(default=None, description="Left out where no tax is added.")


class TaxOut(BaseModel):
    """What one rate adds to the lines that it is for."""

    currency: str
    percent: str
    net: str = Field(description="The sum of those lines, as they are shown.")
    amount: str = Field(description="So many percent of it, rounded once, half a coin up.")


class StatementOut(BaseModel):
    """A month's usage and what it costs; once `state` is final it never changes."""

    tenant: str
    period: str = Field(description="A month in UTC, such as `2026-03`.")
    since: datetime = Field(alias="from")
    until: datetime = Field(alias="to")
    state: Literal["provisional", "final"]
    lines: list[LineOut]
    totals: list[MoneyOut] = Field(description="By currency, without tax.")
    forecast: list[MoneyOut] | None = Field(
        description="What a month that is not over comes to if nothing changes, without tax; null afterwards."
    )
    taxes: list[TaxOut] | None = Field(default=None, description="Left out where no line is taxed.")
    gross: list[MoneyOut] | None = Field(default=None, description="Totals and taxes together; left out with them.")


class StatementShortOut(BaseModel):
    """A month that something was used in."""

    period: str
    state: Literal["provisional", "final"]
    totals: list[MoneyOut] = Field(description="By currency, without tax.")
    gross: list[MoneyOut] | None = Field(default=None, description="With tax; left out where no line is taxed.")


class StatementsOut(BaseModel):
    """Every month, newest first."""

    items: list[StatementShortOut]
    next: None = None


@router.get(ONE, response=StatementsOut, exclude_unset=True, summary="List statements")
def statement_list(request: HttpRequest, tenant: Path[str]) -> dict[str, Any]:
    """The months in which something was used, with what they come to; at most one a month."""
    request.actor.require(Permission.USAGE_VIEW)
    owner = request.actor.tenant
    assert owner is not None
    return {"items": list(statements(owner)), "next": None}


@router.get(f"{ONE}/{{period}}", response=StatementOut, by_alias=True, exclude_unset=True, summary="Get a statement")
def statement_get(request: HttpRequest, tenant: Path[str], period: str) -> dict[str, Any]:
    """One month, such as `2026-03`: as it was issued, or as it stands so far."""
    return _statement(request, period)


@router.get(f"{ONE}/{{period}}/lines.csv", response={200: None}, summary="Get a statement's lines as CSV")
def statement_csv(request: HttpRequest, tenant: Path[str], period: str) -> HttpResponse:
    """The same lines as a table."""
    return HttpResponse(as_csv(_statement(request, period)), content_type="text/csv; charset=utf-8")


@router.get(f"{ONE}/{{period}}/statement.pdf", response={200: None}, summary="Get a statement as PDF")
def statement_pdf(request: HttpRequest, tenant: Path[str], period: str) -> HttpResponse:
    """The same to print: of a month that is final the same bytes for ever, while the project keeps its name."""
    said = _statement(request, period)
    owner = request.actor.tenant
    assert owner is not None
    return HttpResponse(as_pdf(said, name=owner.name), content_type="application/pdf")


def _statement(request: HttpRequest, period: str) -> dict[str, Any]:
    request.actor.require(Permission.USAGE_VIEW)
    owner = request.actor.tenant
    assert owner is not None
    try:
        return statement(owner, period)
    except ValueError as error:
        raise Missing from error
