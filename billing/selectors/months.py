"""A month that is not over: what it comes to so far, of what and on which day, and by its end if nothing changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.db.models import Sum

from billing.invoicing import Line, Used, after, bill, cost, period_of, shared_out, totals
from billing.metering import hour_of
from billing.meters import METERS
from billing.models import Closing, ListTurn, Statement
from billing.money import DIGITS
from billing.selectors.prices import tariff_now
from billing.selectors.records import closed_until
from billing.selectors.statements import foreseen, used
from billing.selectors.things import Thing, machines_of
from portal.core.ports import Item, Money
from tenants.journal.models import UsageInterval
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class MonthSoFar:
    """``closed`` is up to when. By currency: ``sums``, which the shares of things (a disk is with its machine) and those of
    days and meters add up to; ``foretold`` is the whole month and ``ahead`` the days that come, both from the ledger.

    ``amounts`` are unit-seconds of every meter, with or without a price.
    """

    since: datetime
    until: datetime
    closed: datetime
    lines: list[Line]
    sums: dict[str, Decimal]
    amounts: dict[str, int]
    things: dict[str, dict[Thing, Decimal]]
    days: dict[str, dict[tuple[date, str], Decimal]]
    foretold: dict[str, Decimal]
    ahead: dict[str, dict[tuple[date, str], Decimal]]


def month_so_far(tenant: Tenant, at: datetime) -> MonthSoFar:
    """Of the month that ``at`` is in; however much there is, by the same few queries (one more for each change of prices)."""
    since = month_of(at)
    until = after(since)
    closed = min(max(closed_until() or since, since), until)
    found = list(used(tenant, since, until, finely=True))
    lines = bill(found)
    sums = totals(lines)
    machines = machines_of({each.thing for each in found if each.thing is not None})
    coming = list(foreseen(tenant, closed, until, daily=True))
    amounts: defaultdict[str, int] = defaultdict(int)
    for each in found:
        amounts[each.meter] += each.amount
    return MonthSoFar(
        since, until, closed, lines, sums, dict(amounts),
        things=_shares(found, sums, lambda each: machines.get(each.thing, each.thing)),  # type: ignore[arg-type]
        days=_shares(found, sums, lambda each: (each.day, each.meter)),
        foretold=totals(bill(foreseen(tenant, since, until))),
        ahead=_shares(coming, totals(bill(coming)), lambda each: (each.day, each.meter)),
    )  # fmt: skip


def month_of(moment: datetime) -> datetime:
    """The beginning of its month."""
    return hour_of(moment).replace(day=1, hour=0)


def _shares(
    found: Iterable[Used], sums: dict[str, Decimal], of: Callable[[Used], Hashable]
) -> dict[str, dict[Any, Decimal]]:
    exact: dict[str, defaultdict[Hashable, Fraction]] = {code: defaultdict(Fraction) for code in sums}
    for each in found:
        price = each.price
        if each.prices is not None and each.prices.currency in exact and price is not None:
            exact[each.prices.currency][of(each)] += cost(each.meter, price, each.amount)
    return {code: shared_out(sums[code], parts, DIGITS[code]) for code, parts in exact.items() if parts}


def cost_now(tenant: Tenant) -> Money | None:
    """What everything in use costs as long as it stays so; None where nothing has a price. Two queries."""
    prices = tariff_now()
    if prices is None:
        return None
    rows = UsageInterval.objects.filter(tenant=tenant, ended_at=None).values_list("meter", "attributes")
    held = (
        Used(meter, attributes, amount, prices)
        for meter, attributes, amount in rows.annotate(Sum("quantity")).order_by()
    )
    return prices.price([Item(each.meter, each.amount, each.word) for each in held if each.meter in METERS])


@dataclass(frozen=True, slots=True)
class PastMonth:
    """A month that is over: ``sums`` as issued, [{currency, amount}]; None while it is not final."""

    period: str
    sums: list[dict[str, str]] | None


def months_past(tenant: Tenant, at: datetime) -> list[PastMonth]:
    """What was issued, newest first, and before it what is over and not billed yet; at most one a month, by three queries."""
    issued = Statement.objects.filter(tenant=tenant).order_by("-period").values_list("period", "content__totals")
    found = {period: PastMonth(period, sums) for period, sums in issued}
    turn = ListTurn.objects.order_by("since").values_list("since", flat=True).first()
    closing = Closing.objects.first()
    if turn is not None and closing is not None and closing.until is not None:
        start = month_of(max(closing.billed_until or turn, tenant.created_at))
        present = month_of(at)
        while start < present:
            found.setdefault(period_of(start), PastMonth(period_of(start), None))
            start = after(start)
    return sorted(found.values(), key=lambda each: each.period, reverse=True)
