"""Quantities × prices → money. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from billing.meters import METERS
from billing.money import DIGITS
from portal.core.ports import Item, Money

MONTH_HOURS: Final = 730
"""Of a year of 8,760, a twelfth."""


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of one list at one moment: (meter, word) → amount for one unit and hour; the word "" is every other one.

    ``tax`` in percent is added to what they come to.
    """

    currency: str
    hourly: Mapping[tuple[str, str], Decimal]
    tax: Decimal = Decimal(0)

    def price(self, items: Sequence[Item]) -> Money:
        """What these cost together; nothing is rounded before the sum is."""
        exact = sum((self._hour(item) for item in items), Decimal(0))
        digits = DIGITS[self.currency]
        return Money(_round(exact, digits + 4), _round(exact * MONTH_HOURS, digits), self.currency, digits)

    def _hour(self, item: Item) -> Decimal:
        amount = self.hourly.get((item.meter, item.word), self.hourly.get((item.meter, ""), Decimal(0)))
        return amount * item.quantity / METERS[item.meter].scale


def _round(amount: Decimal, digits: int) -> Decimal:
    """Half a coin goes up: what people expect of a price."""
    return amount.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
