"""Price lists, and what of the usage ledger has been closed."""

from billing.models.prices import METER_LABELS, Price, PriceList
from billing.models.records import Account, ClosedHour, Closing, UsageRecord

__all__ = ["METER_LABELS", "Account", "ClosedHour", "Closing", "Price", "PriceList", "UsageRecord"]
