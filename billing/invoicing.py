"""From what was used to what is owed: lines that are rounded once each, and sums of those. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from billing.meters import METERS
from billing.money import DIGITS
from billing.rating import Prices

HOUR_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Used:
    """So many unit-seconds of a meter while the ``prices`` of one stretch of time held; None: nothing had a price then.

    ``correction``: what a final hour was wrong by, less or more.
    """

    meter: str
    attributes: Mapping[str, Any]
    amount: int
    prices: Prices | None
    correction: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """What one meter, word and price come to in a month; ``amount`` is in the currency's smallest coin or a multiple."""

    meter: str
    word: str
    correction: bool
    currency: str
    price: Decimal
    unit_seconds: int
    amount: Decimal


def bill(used: Iterable[Used]) -> list[Line]:
    """One line for each meter, word, currency and price, corrections apart; in that order. What has no price makes no line.

    A line is rounded once, half a coin up, from the exact product: nothing is lost between its parts.
    """
    sums: dict[tuple[bool, str, str, str, Decimal], int] = {}
    for each in used:
        if each.prices is None:
            continue
        attribute = METERS[each.meter].word if each.meter in METERS else ""
        word = str(each.attributes.get(attribute, "")) if attribute else ""
        price = each.prices.hourly.get((each.meter, word), each.prices.hourly.get((each.meter, "")))
        if price is not None:
            key = each.correction, each.meter, word, each.prices.currency, price
            sums[key] = sums.get(key, 0) + each.amount
    return [
        Line(meter, word, correction, currency, price, amount, owed(meter, price, amount, DIGITS[currency]))
        for (correction, meter, word, currency, price), amount in sorted(sums.items())
        if amount
    ]


def owed(meter: str, price: Decimal, unit_seconds: int, digits: int) -> Decimal:
    """What so many unit-seconds cost at ``price`` for a unit and hour, to the currency's smallest coin."""
    exact = Fraction(price) * unit_seconds / (HOUR_S * METERS[meter].scale)
    sign = -1 if exact < 0 else 1
    coins = sign * ((abs(exact) * 10**digits * 2 + 1) // 2)
    return Decimal(int(coins)).scaleb(-digits)


def totals(lines: Iterable[Line]) -> dict[str, Decimal]:
    """By currency the sum of the lines as they are shown."""
    found: dict[str, Decimal] = {}
    for line in lines:
        found[line.currency] = found.get(line.currency, Decimal(0)) + line.amount
    return dict(sorted(found.items()))


def unit_hours(line: Line) -> str:
    """What the price is multiplied with, for people: units and hours, to six digits."""
    exact = Fraction(line.unit_seconds, HOUR_S * METERS[line.meter].scale)
    millionths = round(exact * 10**6)
    return f"{Decimal(millionths).scaleb(-6):.6f}"


def month(period: str) -> tuple[datetime, datetime]:
    """The first moment of a month such as ``2026-03``, in UTC, and of the next; raises ``ValueError``."""
    year, number = period.split("-")
    if len(year) != 4 or len(number) != 2 or not (year + number).isascii():
        raise ValueError(period)
    start = datetime(int(year), int(number), 1, tzinfo=UTC)
    return start, after(start)


def after(start: datetime) -> datetime:
    """The first moment of the month after that which begins at ``start``."""
    return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)


def period_of(moment: datetime) -> str:
    """``2026-03``."""
    return f"{moment:%Y-%m}"
