"""Price lists, what of the usage ledger has been closed, and what tenants were told that they owe."""

from billing.models.prices import METER_LABELS, Price, PriceList
from billing.models.records import Account, ClosedHour, Closing, UsageRecord
from billing.models.statements import ListTurn, Statement

__all__ = [
    "METER_LABELS", "Account", "ClosedHour", "Closing", "ListTurn", "Price", "PriceList", "Statement", "UsageRecord",
]  # fmt: skip
