"""What projects owe for a month, as the operators' page shows it."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from django.http import Http404
from django.urls import reverse
from django.utils.formats import date_format

from billing.invoicing import after, month, period_of
from billing.models import PriceList
from billing.money import DIGITS
from billing.selectors.months import month_of
from billing.selectors.revenue import Owed, revenue, waiting
from portal.core.clock import now

MONTHS: Final = 24
"""So many months back can be chosen."""


def revenue_shown(period: str, name: str) -> dict[str, Any]:
    """The page's facts for a month (empty: the last one that is over) and, by its name, another list's prices.

    Raises ``Http404`` for what is no month or no list.
    """
    at = now()
    choices = _months()
    try:
        since, until = month(period or choices[1])
    except ValueError as error:
        raise Http404 from error
    lists = list(PriceList.objects.order_by("name"))
    other = next((row for row in lists if row.name == name), None)
    if name and other is None:
        raise Http404
    rows = revenue(since, until, other)
    late = waiting(at)
    return {
        "month": date_format(since, "F Y"),
        "months": [(each, date_format(month(each)[0], "F Y"), each == period_of(since)) for each in choices],
        "lists": [(row.name, row == other) for row in lists],
        "other": other,
        "rows": [_row(each) for each in rows],
        "sums": _labels(_added(each.sums for each in rows)),
        "instead": _labels(_added(each.instead for each in rows)),
        "late": late,
        "late_months": [date_format(month(each)[0], "F Y") for each in late.months],
    }


def _months() -> list[str]:
    """The present month and those before it."""
    found, start = [], month_of(now())
    first = start.replace(year=start.year - MONTHS // 12)
    while first <= start:
        found.append(period_of(first))
        first = after(first)
    return found[::-1]


def _row(each: Owed) -> dict[str, Any]:
    return {
        "name": each.tenant.name,
        "slug": each.tenant.slug,
        "url": reverse("admin:tenants_tenant_change", args=[each.tenant.pk]),
        "issued": each.issued,
        "sums": _labels(each.sums),
        "instead": _labels(each.instead),
    }


def _added(sums: Iterable[dict[str, Decimal]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for each in sums:
        for code, amount in each.items():
            found[code] = found.get(code, Decimal(0)) + amount
    return dict(sorted(found.items()))


def _labels(sums: dict[str, Decimal]) -> list[str]:
    return [f"{code} {amount:.{DIGITS[code]}f}" for code, amount in sums.items()]
