"""From what was used to what is owed: lines that are rounded once each, and sums of those. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from billing.meters import METERS
from billing.money import DIGITS
from billing.rating import Prices

HOUR_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Used:
    """So many unit-seconds of a meter while the ``prices`` of one stretch of time held; None: nothing had a price then.

    ``correction``: what a final hour was wrong by, less or more. ``thing`` (its type and id) and ``day`` are there where it was
    asked for as finely as that.
    """

    meter: str
    attributes: Mapping[str, Any]
    amount: int
    prices: Prices | None
    correction: bool = False
    thing: tuple[str, UUID] | None = None
    day: date | None = None

    @property
    def word(self) -> str:
        """The flavor, class or store that may have a price of its own; empty for none."""
        attribute = METERS[self.meter].word if self.meter in METERS else ""
        return str(self.attributes.get(attribute, "")) if attribute else ""

    @property
    def price(self) -> Decimal | None:
        """For one unit and hour; None where it had none."""
        if self.prices is None:
            return None
        return self.prices.hourly.get((self.meter, self.word), self.prices.hourly.get((self.meter, "")))


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
    tax: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tax:
    """What ``percent`` of the ``net`` sum of some lines come to."""

    currency: str
    percent: Decimal
    net: Decimal
    amount: Decimal


def bill(used: Iterable[Used]) -> list[Line]:
    """One line for each meter, word, currency, price and tax, corrections apart; in that order. What has no price makes none.

    A line is rounded once, half a coin up, from the exact product: nothing is lost between its parts.
    """
    sums: dict[tuple[bool, str, str, str, Decimal, Decimal], int] = {}
    for each in used:
        price = each.price
        if each.prices is not None and price is not None:
            key = each.correction, each.meter, each.word, each.prices.currency, price, each.prices.tax
            sums[key] = sums.get(key, 0) + each.amount
    return [
        Line(meter, word, correction, currency, price, amount, owed(meter, price, amount, DIGITS[currency]), tax)
        for (correction, meter, word, currency, price, tax), amount in sorted(sums.items())
        if amount
    ]


def owed(meter: str, price: Decimal, unit_seconds: int, digits: int) -> Decimal:
    """What so many unit-seconds cost at ``price`` for a unit and hour, to the currency's smallest coin."""
    return _in_coins(cost(meter, price, unit_seconds), digits)


def taxes(lines: Iterable[Line]) -> list[Tax]:
    """By currency and percent, without what is not taxed: of the sum of the lines as they are shown, rounded once each."""
    sums: dict[tuple[str, Decimal], Decimal] = {}
    for line in lines:
        if line.tax:
            key = line.currency, line.tax
            sums[key] = sums.get(key, Decimal(0)) + line.amount
    return [
        Tax(currency, percent, net, _in_coins(Fraction(net) * Fraction(percent) / 100, DIGITS[currency]))
        for (currency, percent), net in sorted(sums.items())
    ]


def _in_coins(exact: Fraction, digits: int) -> Decimal:
    """To the currency's smallest coin, half a coin away from nothing."""
    sign = -1 if exact < 0 else 1
    coins = sign * ((abs(exact) * 10**digits * 2 + 1) // 2)
    return Decimal(int(coins)).scaleb(-digits)


def cost(meter: str, price: Decimal, unit_seconds: int) -> Fraction:
    """The same, exactly."""
    return Fraction(price) * unit_seconds / (HOUR_S * METERS[meter].scale)


def shared_out[Part: Hashable](total: Decimal, parts: Mapping[Part, Fraction], digits: int) -> dict[Part, Decimal]:
    """``total`` in whole coins over ``parts`` as near as can be to what each is exactly: what is shown adds up to what is owed.

    Whatever coins are left go to those that lost most by being cut; the same for the same parts in the same order.
    """
    coins = {part: amount * 10**digits // 1 for part, amount in parts.items()}
    left = int(total.scaleb(digits)) - sum(coins.values())
    by_loss = sorted(parts, key=lambda part: coins[part] - parts[part] * 10**digits)
    for place, part in enumerate(by_loss):
        coins[part] += left // len(by_loss) + (place < left % len(by_loss))
    return {part: Decimal(int(amount)).scaleb(-digits) for part, amount in coins.items()}


def totals(lines: Iterable[Line]) -> dict[str, Decimal]:
    """By currency the sum of the lines as they are shown."""
    found: dict[str, Decimal] = {}
    for line in lines:
        found[line.currency] = found.get(line.currency, Decimal(0)) + line.amount
    return dict(sorted(found.items()))


def unit_hours(line: Line) -> str:
    """What the price is multiplied with, for people: units and hours, to six digits."""
    return unit_hours_of(line.meter, line.unit_seconds, digits=6)


def unit_hours_of(meter: str, unit_seconds: int, *, digits: int) -> str:
    """So many unit-seconds in units and hours, to so many digits."""
    exact = Fraction(unit_seconds, HOUR_S * METERS[meter].scale)
    return f"{Decimal(round(exact * 10**digits)).scaleb(-digits):.{digits}f}"


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
