"""What a tenant owes for a month: as it was issued, or as it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from django.db.models import Sum
from django.db.models.functions import TruncDate

from billing.invoicing import Line, Used, after, bill, month, period_of, taxes, totals, unit_hours
from billing.meters import METERS
from billing.models import ListTurn, Price, Statement, UsageRecord
from billing.money import DIGITS
from billing.rating import Prices
from billing.selectors.ledger import spans
from billing.selectors.records import as_closed, closed_until, final_until
from portal.core.clock import rfc3339
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which prices were the same; ``prices`` is None where there were none."""

    since: datetime
    until: datetime
    prices: Prices | None


def stretches(since: datetime, until: datetime) -> list[Stretch]:
    """[``since``, ``until``) cut where another list took its turn or another price began."""
    turns = list(ListTurn.objects.filter(since__lt=until).select_related("price_list").order_by("since"))
    lists = {turn.price_list_id for turn in turns}
    prices = list(Price.objects.filter(price_list__in=lists, valid_from__lt=until).order_by("valid_from"))
    cuts = {each for each in (*(t.since for t in turns), *(p.valid_from for p in prices)) if since < each < until}
    edges = [since, *sorted(cuts), until]
    return [Stretch(a, b, _held(a, turns, prices)) for a, b in pairwise(edges)]


def _held(moment: datetime, turns: list[ListTurn], prices: list[Price]) -> Prices | None:
    """What held then; both come in the order of time, so that the last one that had begun counts."""
    turn = next((turn for turn in reversed(turns) if turn.since <= moment), None)
    if turn is None:
        return None
    begun = [price for price in prices if price.price_list_id == turn.price_list_id and price.valid_from <= moment]
    hourly = {(price.meter, price.word): price.amount for price in begun}
    return Prices(turn.price_list.currency, hourly, turn.price_list.tax_percent)


def used(tenant: Tenant, since: datetime, until: datetime, *, finely: bool = False) -> Iterator[Used]:
    """What closed records say: of hours in [``since``, ``until``), and corrections that were recorded with them.

    A record costs what held when its window began. ``finely``: thing by thing and day by day; a correction is of the day on
    which it was recorded.
    """
    fine = ("resource_type", "resource_id", TruncDate("window_start", tzinfo=UTC)) if finely else ()
    rows = UsageRecord.objects.filter(tenant=tenant)
    for stretch in stretches(since, until):
        here = as_closed(rows.filter(window_start__gte=stretch.since, window_start__lt=stretch.until))
        for meter, attributes, *of, amount in (
            here.values_list("meter", "attributes", *fine).annotate(Sum("quantity")).order_by()
        ):
            thing, day = ((of[0], of[1]), of[2]) if of else (None, None)
            yield Used(meter, attributes, amount, stretch.prices, thing=thing, day=day)
    for row in rows.filter(correction=True, recorded_at__gt=since, recorded_at__lte=until).order_by("seq"):
        yield from corrected(row)


def corrected(row: UsageRecord) -> Iterator[Used]:
    """What a correction makes of the record that it supersedes: that one back, and this one, at the prices of their time."""
    (then,) = stretches(row.window_start, row.window_start + timedelta(microseconds=1))
    before = UsageRecord.objects.filter(
        resource_id=row.resource_id, meter=row.meter, window_start=row.window_start, revision=row.revision - 1
    ).first()
    thing, day = (row.resource_type, row.resource_id), (row.recorded_at - timedelta(microseconds=1)).date()
    if before is not None:
        yield Used(
            before.meter, before.attributes, -before.quantity, then.prices, correction=True, thing=thing, day=day
        )
    yield Used(row.meter, row.attributes, row.quantity, then.prices, correction=True, thing=thing, day=day)


def foreseen(tenant: Tenant, since: datetime, until: datetime, *, daily: bool = False) -> Iterator[Used]:
    """What the ledger comes to by ``until`` if nothing changes: what is in use stays so. Without corrections."""
    held = list(spans(since, until, tenant=tenant))
    for stretch in stretches(since, until):
        for begin, stop in _days(stretch) if daily else [(stretch.since, stretch.until)]:
            for span in held:
                end = stop if span.ended is None else min(span.ended, stop)
                seconds = (end - max(span.started, begin)) // timedelta(seconds=1)
                if seconds > 0:
                    amount = seconds * span.quantity
                    yield Used(span.meter, span.attributes, amount, stretch.prices, day=begin.date())


def _days(stretch: Stretch) -> Iterator[tuple[datetime, datetime]]:
    begin = stretch.since
    while begin < stretch.until:
        stop = min(begin.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1), stretch.until)
        yield begin, stop
        begin = stop


def statement(tenant: Tenant, period: str) -> dict[str, Any]:
    """The month as JSON shows it: what was issued, or what stands so far, with what the month would come to.

    Raises ``ValueError`` for what is no month.
    """
    issued = Statement.objects.filter(tenant=tenant, period=period).first()
    if issued is not None:
        content: dict[str, Any] = issued.content
        return content
    since, until = month(period)
    said = written(tenant, since, until)
    if until > (closed_until() or since):
        said["forecast"] = _money(totals(bill(foreseen(tenant, since, until))))
    return said


def statements(tenant: Tenant) -> Iterator[dict[str, Any]]:
    """Every month with records, newest first, without a forecast: those that were issued by one query."""
    issued = dict(Statement.objects.filter(tenant=tenant).values_list("period", "content"))
    for period in periods(tenant):
        yield issued.get(period) or written(tenant, *month(period))


def written(tenant: Tenant, since: datetime, until: datetime) -> dict[str, Any]:
    """What closed records come to; the same for the same records and prices."""
    lines = bill(used(tenant, since, until))
    final = final_until()
    return {
        "tenant": tenant.slug,
        "period": period_of(since),
        "from": rfc3339(since),
        "to": rfc3339(until),
        "state": "final" if final is not None and final >= until else "provisional",
        "lines": [_line(line) for line in lines],
        "totals": _money(totals(lines)),
        "forecast": None,
        **_taxed(lines),
    }


def _taxed(lines: list[Line]) -> dict[str, Any]:
    """What tax adds, where any does: what was issued before there was tax keeps its shape."""
    found = taxes(lines)
    if not found:
        return {}
    sums = totals(lines)
    for each in found:
        sums[each.currency] += each.amount
    shown = [
        {
            "currency": each.currency,
            "percent": _plain(each.percent),
            "net": f"{each.net:.{DIGITS[each.currency]}f}",
            "amount": f"{each.amount:.{DIGITS[each.currency]}f}",
        }
        for each in found
    ]
    return {"taxes": shown, "gross": _money(sums)}


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def periods(tenant: Tenant) -> list[str]:
    """The months with records, newest first."""
    rows = UsageRecord.objects.filter(tenant=tenant)
    first = rows.order_by("window_start").values_list("window_start", flat=True).first()
    last = rows.order_by("-window_start").values_list("window_start", flat=True).first()
    if first is None or last is None:
        return []
    found, start = [], first.replace(day=1, hour=0, minute=0, second=0)
    while start <= last:
        found.append(period_of(start))
        start = after(start)
    return found[::-1]


def _line(line: Line) -> dict[str, Any]:
    return {
        "kind": "correction" if line.correction else "usage",
        "meter": line.meter,
        "word": line.word,
        "unit": f"{METERS[line.meter].unit}-hour",
        "unit_hours": unit_hours(line),
        "unit_seconds": str(line.unit_seconds),
        "price": f"{line.price.normalize():f}",
        "currency": line.currency,
        "amount": f"{line.amount:.{DIGITS[line.currency]}f}",
        **({"tax_percent": _plain(line.tax)} if line.tax else {}),
    }


def _money(sums: dict[str, Decimal]) -> list[dict[str, str]]:
    return [{"currency": code, "amount": f"{amount:.{DIGITS[code]}f}"} for code, amount in sums.items()]
