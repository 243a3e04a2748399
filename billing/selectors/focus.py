"""What was used, as charges: day by day, thing by thing, and what a month's statement adds to them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Max, Min, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import TruncDate

from billing.focus import Account, Row, rounding, taxed, usage
from billing.invoicing import Used, after, bill, period_of, taxes, totals
from billing.metering import hour_of
from billing.models import ClosedHour, Statement, UsageRecord
from billing.selectors.ledger import CHUNK
from billing.selectors.months import month_of
from billing.selectors.records import as_closed, closed_until
from billing.selectors.statements import Stretch, stretches
from billing.selectors.things import name_now
from tenants.models import Tenant


@dataclass(slots=True)
class _Sums:
    """What a month's rows of one account came to: by what makes a line, and by currency as they were printed."""

    lines: dict[tuple[Any, ...], Used] = field(default_factory=dict)
    printed: dict[str, Decimal] = field(default_factory=dict)

    def add(self, used: Used, row: Row) -> None:
        key = (
            used.correction,
            used.meter,
            used.word,
            row["BillingCurrency"],
            used.price,
            used.prices and used.prices.tax,
        )
        held = self.lines.get(key)
        self.lines[key] = replace(used, amount=used.amount + held.amount) if held is not None else used
        self.printed[row["BillingCurrency"]] = self.printed.get(row["BillingCurrency"], Decimal(0)) + row["BilledCost"]


@dataclass(frozen=True, slots=True)
class _Month:
    """One month's rows that are asked for, and whether that is all of it; not read yet."""

    since: datetime
    until: datetime
    whole: bool
    pieces: list[tuple[Stretch, QuerySet[UsageRecord, Any]]]
    corrections: QuerySet[Any]


def charges(tenant: Tenant | None, since: datetime | None, until: datetime | None, *, issuer: str) -> Iterator[Row]:
    """Rows of FOCUS for closed hours in [``since``, ``until``), or of all of them; without ``tenant`` everybody's.

    Put together in the caller's scope, read afterwards: one query for each change of prices and two for each month, however
    many records there are. In memory are the month's lines, not its rows. Of a month that is asked for whole, all rows
    but ``Tax`` add up to the statement's net, and with those to its gross.
    """
    closed = closed_until()
    first = ClosedHour.objects.order_by("start").values_list("start", flat=True).first()
    if closed is None or first is None:
        return iter(())
    begin = max(first, hour_of(since)) if since is not None else first
    end = min(closed, hour_of(until)) if until is not None else closed
    held = stretches(first, closed)
    months = []
    start = month_of(begin)
    while start < end:
        months.append(_month(tenant, start, max(begin, start), min(end, after(start)), held, since, until))
        start = after(start)
    people = {tenant.pk: tenant.name} if tenant is not None else dict(Tenant.objects.values_list("pk", "name"))
    issued = Statement.objects.filter(period__in=[period_of(month.since) for month in months])
    rows = (issued.filter(tenant=tenant) if tenant is not None else issued).values_list(
        "tenant", "period", "content__tenant"
    )
    invoices = {(pk, period): f"{slug}/{period}" for pk, period, slug in rows}
    return _rows(months, held, people, invoices, issuer)


def _month(
    tenant: Tenant | None, start: datetime, begin: datetime, end: datetime, held: list[Stretch],
    since: datetime | None, until: datetime | None,
) -> _Month:  # fmt: skip
    rows = UsageRecord.objects.all() if tenant is None else UsageRecord.objects.filter(tenant=tenant)
    pieces = []
    for stretch in held:
        low, high = max(begin, stretch.since), min(end, stretch.until)
        if low < high and stretch.prices is not None:
            here = as_closed(rows.filter(window_start__gte=low, window_start__lt=high))
            pieces.append((stretch, _by_day(here)))
    before = UsageRecord.objects.filter(
        resource_id=OuterRef("resource_id"), meter=OuterRef("meter"), window_start=OuterRef("window_start"),
        revision=OuterRef("revision") - 1,
    )  # fmt: skip
    corrections = rows.filter(correction=True, recorded_at__gt=begin, recorded_at__lte=end).annotate(
        name=name_now(), was=Subquery(before.values("quantity")[:1]), was_end=Subquery(before.values("window_end")[:1]),
        was_attributes=Subquery(before.values("attributes")[:1]),
    )  # fmt: skip
    whole = (since is None or since <= start) and (until is None or until >= after(start))
    return _Month(start, after(start), whole, pieces, corrections.order_by("id"))


def _by_day(rows: QuerySet[UsageRecord]) -> QuerySet[UsageRecord, Any]:
    keys = ("day", "tenant_id", "resource_type", "resource_id", "meter", "attributes")
    days = rows.annotate(day=TruncDate("window_start", tzinfo=UTC)).values_list(*keys)
    return days.annotate(Sum("quantity"), Min("window_start"), Max("window_end"), name=name_now()).order_by(*keys)


def _rows(
    months: list[_Month],
    held: list[Stretch],
    people: dict[UUID, str],
    invoices: dict[tuple[UUID, str], str],
    issuer: str,
) -> Iterator[Row]:
    for month in months:
        sums: dict[UUID, _Sums] = {}

        def account(pk: UUID, month: _Month = month) -> Account:
            invoice = invoices.get((pk, period_of(month.since)))
            return Account(pk, people[pk], month.since, month.until, invoice, issuer)

        for pk, used, start, end, name in _charged(month, held):
            row = usage(account(pk), used, start, end, name)
            if row is not None:
                sums.setdefault(pk, _Sums()).add(used, row)
                yield row
        if month.whole:
            for pk in sorted(sums):
                yield from _settled(account(pk), sums[pk])


def _charged(month: _Month, held: list[Stretch]) -> Iterator[tuple[UUID, Used, datetime, datetime, str | None]]:
    """Whose, what, from when to when, and what the thing is called now."""
    for stretch, rows in month.pieces:
        for _day, pk, kind, thing, meter, attributes, amount, start, end, name in rows.iterator(chunk_size=CHUNK):
            yield pk, Used(meter, attributes, int(amount), stretch.prices, thing=(kind, thing)), start, end, name
    for row in month.corrections.iterator(chunk_size=CHUNK):
        prices = held[bisect_right(held, row.window_start, key=lambda each: each.since) - 1].prices
        thing = (row.resource_type, row.resource_id)
        now = Used(row.meter, row.attributes, row.quantity, prices, correction=True, thing=thing)
        end = max(row.window_end, row.was_end or row.window_end, row.window_start + timedelta(seconds=1))
        if row.was is not None:
            was = replace(now, attributes=row.was_attributes, amount=-row.was)
            yield row.tenant_id, was, row.window_start, end, row.name
        yield row.tenant_id, now, row.window_start, end, row.name


def _settled(account: Account, sums: _Sums) -> Iterator[Row]:
    """What the month's statement has beside what was used."""
    lines = bill(sums.lines.values())
    for currency, net in totals(lines).items():
        difference = net - sums.printed[currency]
        if difference:
            yield rounding(account, currency, difference)
    for tax in taxes(lines):
        yield taxed(account, tax)
