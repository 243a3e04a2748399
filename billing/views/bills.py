"""What a project used and what it costs: the month so far, and months as they were billed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from billing.invoicing import month, unit_hours_of
from billing.meters import METERS
from billing.models import METER_LABELS, Price
from billing.money import DIGITS
from billing.papers import as_csv
from billing.printing import as_pdf, sums_of
from billing.selectors.months import MonthSoFar, PastMonth, cost_now, month_so_far, months_past
from billing.selectors.prices import prices_at
from billing.selectors.statements import statement
from billing.selectors.things import KINDS, Thing, names_of
from billing.views.bars import GROUPS, REST, bars
from portal.core.clock import now
from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.types import HttpRequest

SHOWN: Final = 12
"""So many things stand on the page by themselves, those that cost most."""


@require_safe
@page(Permission.USAGE_VIEW)
def bill(request: HttpRequest, tenant: str) -> HttpResponse:
    """This month so far, what it will come to, today's prices, and the months before."""
    owner, at = tenant_of(request), now()
    found, prices = month_so_far(owner, at), _prices(at)
    past = [_past(each, tenant) for each in months_past(owner, at)]
    context = {
        "month": _month(found.since),
        "period": f"{found.since:%Y-%m}",
        "closed": found.closed if found.closed > found.since else None,
        "sums": _sums(found.sums),
        "foretold": _sums(found.foretold),
        "share": _share(found),
        "running": cost_now(owner),
        "meters": _meters(found),
        "costs": bool(found.lines),
        "things": _things(found),
        "charts": [_chart(found, code) for code in sorted(found.sums.keys() | found.foretold.keys())],
        "prices": prices,
        "months": past,
        "nothing": not prices and not past and not found.lines,
    }
    return render(request, "billing/bill.html", context)


@require_safe
@page(Permission.USAGE_VIEW)
def bill_month(request: HttpRequest, tenant: str, period: str) -> HttpResponse:
    """One month, as it was issued or as it stands: every line, and the sum of them."""
    said = _statement(request, period)
    lines = [_line(line) for line in said["lines"]]
    context = {
        "month": _month(month(period)[0]),
        "period": period,
        "final": said["state"] == "final",
        "lines": [line for line in lines if not line["correction"]],
        "corrections": [line for line in lines if line["correction"]],
        "sums": sums_of(said),
    }
    return render(request, "billing/bill_month.html", context)


@require_safe
@page(Permission.USAGE_VIEW)
def bill_csv(request: HttpRequest, tenant: str, period: str) -> HttpResponse:
    """Its lines as a table, to keep."""
    return _file(as_csv(_statement(request, period)), "text/csv; charset=utf-8", f"{tenant}-{period}.csv")


@require_safe
@page(Permission.USAGE_VIEW)
def bill_pdf(request: HttpRequest, tenant: str, period: str) -> HttpResponse:
    """The same as people print it."""
    content = as_pdf(_statement(request, period), name=tenant_of(request).name)
    return _file(content, "application/pdf", f"{tenant}-{period}.pdf")


@require_safe
@page(Permission.USAGE_VIEW)
def bill_json(request: HttpRequest, tenant: str, period: str) -> HttpResponse:
    """The same as REST says it, to keep."""
    text = json.dumps(_statement(request, period), ensure_ascii=False, indent=2)
    return _file(text, "application/json", f"{tenant}-{period}.json")


def _statement(request: HttpRequest, period: str) -> dict[str, Any]:
    try:
        return statement(tenant_of(request), period)
    except ValueError as error:
        raise Http404 from error


def _file(content: str | bytes, kind: str, name: str) -> HttpResponse:
    response = HttpResponse(content, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _month(since: datetime) -> str:
    return date_format(since, "F Y")


def _label(amount: Decimal, currency: str) -> str:
    return f"{currency} {amount:.{DIGITS[currency]}f}"


def _sums(sums: dict[str, Decimal]) -> list[str]:
    return [_label(amount, code) for code, amount in sums.items()]


def _share(found: MonthSoFar) -> float | None:
    """How much of what the month will come to it has come to; None with two currencies, or nothing."""
    if len(found.foretold) != 1 or found.sums.keys() != found.foretold.keys():
        return None
    (so_far,), (whole,) = found.sums.values(), found.foretold.values()
    return float(100 * so_far / whole) if whole > 0 else None


def _meters(found: MonthSoFar) -> list[dict[str, Any]]:
    """What was used of each meter, and what its lines come to."""
    return [
        {
            "label": METER_LABELS[meter],
            "used": unit_hours_of(meter, found.amounts[meter], digits=1),
            "unit": METERS[meter].unit,
            "sums": _sums(_added((line.currency, line.amount) for line in found.lines if line.meter == meter)),
        }
        for meter in METERS
        if found.amounts.get(meter)
    ]


def _added(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for code, amount in amounts:
        sums[code] = sums.get(code, Decimal(0)) + amount
    return sums


def _things(found: MonthSoFar) -> list[dict[str, Any]]:
    """What costs most, by its name, and the rest in one."""
    shown: list[dict[str, Any]] = []
    for code, amounts in found.things.items():
        ranked = sorted(amounts.items(), key=lambda item: (-item[1], str(item[0][1])))
        names = names_of([thing for thing, _amount in ranked[:SHOWN]])
        shown += [
            {**_thing(thing, names.get(thing)), "amount": _label(amount, code)} for thing, amount in ranked[:SHOWN]
        ]
        if ranked[SHOWN:]:
            rest = sum((amount for _thing_, amount in ranked[SHOWN:]), Decimal(0))
            words = _("%d others") % len(ranked[SHOWN:])
            shown.append({"kind": "", "name": words, "gone": False, "amount": _label(rest, code)})
    return shown


def _thing(thing: Thing, name: str | None) -> dict[str, Any]:
    kind, pk = thing
    label = str(KINDS.get(kind, kind))
    gone = _("Gone; its id ended in %s") % str(pk)[-8:]
    return {"kind": label, "name": name or "", "gone": gone if name is None else ""}


def _chart(found: MonthSoFar, code: str) -> dict[str, Any]:
    """Bars of one currency, with the same figures for who reads them."""
    length = (found.until - found.since).days
    days = [(found.since + timedelta(days=number)).date() for number in range(length)]
    past, ahead = found.days.get(code, {}), found.ahead.get(code, {})
    rects, ticks = bars(days, past, ahead, digits=DIGITS[code])
    words = _("What each day of %(month)s comes to in %(currency)s; the table below has the figures.")
    return {
        "currency": code,
        "words": words % {"month": _month(found.since), "currency": code},
        "rects": rects,
        "ticks": [f"{tick:.{DIGITS[code]}f}" for tick in ticks],
        "keys": [(colour, label) for _kind, colour, label, meters in (*GROUPS, REST) if _has(meters, past, ahead)],
        "days": [_day(days[0]), _day(days[length // 2]), _day(days[-1])],
        "table": [
            {"day": _day(day), "amount": _label(amount, code)}
            for day, amount in sorted(_added_days(past).items())
        ],
        "any": bool(rects),
    }  # fmt: skip


def _has(meters: frozenset[str], *amounts: dict[tuple[date, str], Decimal]) -> bool:
    return any(amount for each in amounts for (_day_, meter), amount in each.items() if meter in meters)


def _added_days(amounts: dict[tuple[date, str], Decimal]) -> dict[date, Decimal]:
    sums: dict[date, Decimal] = {}
    for (day, _meter), amount in amounts.items():
        sums[day] = sums.get(day, Decimal(0)) + amount
    return sums


def _day(day: date) -> str:
    return date_format(day, "j M")


def _prices(at: datetime) -> list[dict[str, str]]:
    """What holds today, as it stands on the default list."""
    rows = prices_at(at).filter(price_list__is_default=True).select_related("price_list")
    return [
        _price(row) for row in sorted(rows, key=lambda row: (list(METERS).index(row.meter), row.word == "", row.word))
    ]


def _price(row: Price) -> dict[str, str]:
    return {
        "label": str(row.get_meter_display()),
        "word": row.word,
        "unit": METERS[row.meter].unit,
        "hour": f"{row.price_list.currency} {row.amount.normalize():f}",
        "tax": f"{row.price_list.tax_percent.normalize():f}" if row.price_list.tax_percent else "",
    }


def _past(each: PastMonth, slug: str) -> dict[str, Any]:
    sums = None if each.sums is None else [_label(Decimal(one["amount"]), one["currency"]) for one in each.sums]
    return {
        "month": _month(month(each.period)[0]),
        "url": reverse("billing:bill_month", args=[slug, each.period]),
        "pdf": reverse("billing:bill_pdf", args=[slug, each.period]),
        "sums": sums,
    }


def _line(line: dict[str, str]) -> dict[str, Any]:
    return {
        "label": METER_LABELS[line["meter"]],
        "word": line["word"],
        "hours": line["unit_hours"],
        "unit": METERS[line["meter"]].unit,
        "price": f"{line['currency']} {line['price']}",
        "amount": _label(Decimal(line["amount"]), line["currency"]),
        "correction": line["kind"] == "correction",
    }
