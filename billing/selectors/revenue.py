"""What all projects owe for a month, what it would have been at another list's prices, and what is waiting to be billed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Sum

from billing.invoicing import Used, after, bill, period_of, totals
from billing.metering import HOUR
from billing.models import Closing, PriceList, Statement, UsageRecord
from billing.rating import Prices
from billing.selectors.prices import prices_at
from billing.selectors.records import as_closed
from billing.selectors.statements import corrected, stretches
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Owed:
    """What one tenant owes, by currency; ``instead`` with another list's prices, ``issued`` as it was told."""

    tenant: Tenant
    sums: dict[str, Decimal]
    issued: bool
    instead: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class Waiting:
    """``closed``: up to when hours are; ``hours`` that are over and not closed; ``months`` that are over and not issued."""

    closed: datetime | None
    hours: int
    months: list[str]


def revenue(since: datetime, until: datetime, other: PriceList | None = None) -> list[Owed]:
    """Who owes something for the month, who owes most first; in every tenant's scope, by a constant number of queries.

    What was issued as it was issued, the rest as it stands. ``other``: at that list's newest prices instead, announced ones
    among them.
    """
    issued = {
        tenant: {each["currency"]: Decimal(each["amount"]) for each in sums}
        for tenant, sums in Statement.objects.filter(period=period_of(since)).values_list("tenant", "content__totals")
    }
    found = _used(since, until)
    prices = newest(other) if other is not None else None
    owed = []
    for tenant in Tenant.objects.filter(pk__in={*issued, *found}):
        mine = found.get(tenant.pk, [])
        sums = issued.get(tenant.pk) or totals(bill(mine))
        instead = totals(bill(replace(each, prices=prices) for each in mine)) if prices is not None else {}
        if sums or instead:
            owed.append(Owed(tenant, sums, tenant.pk in issued, instead))
    return sorted(owed, key=lambda each: (-max([*each.sums.values(), Decimal(0)]), each.tenant.slug))


def newest(price_list: PriceList) -> Prices:
    """A list once everything that is announced on it holds."""
    last = price_list.prices.order_by("-valid_from").values_list("valid_from", flat=True).first()
    rows = prices_at(last).filter(price_list=price_list) if last is not None else ()
    return Prices(price_list.currency, {(row.meter, row.word): row.amount for row in rows}, price_list.tax_percent)


def waiting(at: datetime) -> Waiting:
    """What is late, seen from ``at``."""
    closing = Closing.objects.first()
    if closing is None or closing.until is None:
        return Waiting(None, 0, [])
    months, start = [], closing.billed_until
    while start is not None and after(start) <= at:
        months.append(period_of(start))
        start = after(start)
    return Waiting(closing.until, max(0, (at - closing.until) // HOUR), months)


def _used(since: datetime, until: datetime) -> dict[UUID, list[Used]]:
    found: defaultdict[UUID, list[Used]] = defaultdict(list)
    rows: Any = UsageRecord.objects
    for stretch in stretches(since, until):
        here = as_closed(rows.filter(window_start__gte=stretch.since, window_start__lt=stretch.until))
        for tenant, meter, attributes, amount in (
            here.values_list("tenant", "meter", "attributes").annotate(Sum("quantity")).order_by()
        ):
            found[tenant].append(Used(meter, attributes, amount, stretch.prices))
    for row in rows.filter(correction=True, recorded_at__gt=since, recorded_at__lte=until).order_by("tenant", "seq"):
        found[row.tenant_id].extend(corrected(row))
    return dict(found)
