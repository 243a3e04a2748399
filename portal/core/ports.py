"""What rooms ask of one that stands above them: it registers its answer when it is loaded, and they never import it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Item:
    """So much of a meter of the usage ledger, in the meter's own unit; ``word`` is the attribute that its price hangs on."""

    meter: str
    quantity: int
    word: str = ""


@dataclass(frozen=True, slots=True)
class Money:
    """What something costs as long as it is there: an hour, and a month of 730 of them."""

    hour: Decimal
    month: Decimal
    currency: str
    digits: int

    @property
    def hour_text(self) -> str:
        """As a decimal string, to four digits more than the currency has."""
        return f"{self.hour:.{self.digits + 4}f}"

    @property
    def month_text(self) -> str:
        """As a decimal string, in the currency's smallest coins."""
        return f"{self.month:.{self.digits}f}"

    @property
    def hour_label(self) -> str:
        """For people."""
        return f"{self.currency} {self.hour_text}"

    @property
    def month_label(self) -> str:
        """For people."""
        return f"{self.currency} {self.month_text}"


class Tariff(Protocol):
    """The prices of one moment, read once."""

    def price(self, items: Sequence[Item]) -> Money:
        """What these cost together; what has no price costs nothing."""


_tariff: list[Callable[[], Tariff | None]] = []


def answers_tariff[F: Callable[[], Tariff | None]](function: F) -> F:
    """Declare who knows the prices; one does."""
    _tariff[:] = [function]
    return function


def tariff() -> Tariff | None:
    """Today's prices, by one query; None where none are kept."""
    return _tariff[0]() if _tariff else None
