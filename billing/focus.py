"""Charges as rows of FOCUS 1.2, the FinOps Open Cost and Usage Specification. Pure.

Source: https://focus.finops.org/focus-specification/v1-2/
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import batched
from typing import Any, Final
from uuid import UUID

from billing.invoicing import Tax, Used, unit_hours_of
from billing.metering import text_of
from billing.meters import METERS
from tenants.journal.search import tame

COLUMNS: Final = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceId",
    "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName", "ServiceSubcategory",
    "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId",
)  # fmt: skip
"""Every mandatory one, and those whose condition holds: there are no commitments, regions nor accounts below an account."""
TEXT: Final = frozenset({"BillingAccountName", "ChargeDescription", "ResourceName", "SkuId", "SkuMeter", "SkuPriceId"})
"""In what people wrote a part of."""

COMPUTE: Final = ("Compute", "Virtual Machines", "Virtual machines")
_SERVICES: Final = {
    "vcpus": COMPUTE,
    "memory_mib": COMPUTE,
    "disk_gib": ("Storage", "Block Storage", "Disks"),
    "snapshot_gib": ("Storage", "Other (Storage)", "Snapshots"),
    "image_gib": ("Storage", "Other (Storage)", "Images"),
    "backup_gib": ("Storage", "Backup Storage", "Backups"),
}
"""Category, subcategory and name, for every meter of ``billing.meters``."""
_INVOICING: Final = ("Other", "Other (Other)", "Invoicing")
_METERS: Final = {
    "vcpus": "vCPUs of running machines",
    "memory_mib": "Memory of running machines",
    "disk_gib": "Disks",
    "snapshot_gib": "Snapshots",
    "image_gib": "Images",
    "backup_gib": "Backups",
}
_RESOURCES: Final = {
    "guest": "Virtual machine",
    "volume": "Disk",
    "snapshot": "Snapshot",
    "image": "Image",
    "backup_repository": "Backup repository",
}
_DIGITS: Final = 9
"""Of a quantity: within a day no row is off by more than half of that times its price."""
_BATCH: Final = 500

type Row = dict[str, Any]
"""Columns by name; what is left out is null."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays for a month: ``invoice`` is None until it was issued."""

    id: UUID
    name: str
    since: datetime
    until: datetime
    invoice: str | None
    issuer: str

    def charge(self, currency: str, cost: Decimal, service: tuple[str, str, str], **columns: Any) -> Row:
        """A row in which every cost is the same: there are no discounts, and nothing is paid ahead."""
        category, subcategory, name = service
        return {
            "BilledCost": cost, "EffectiveCost": cost, "ListCost": cost, "ContractedCost": cost,
            "BillingAccountId": str(self.id), "BillingAccountName": self.name, "BillingCurrency": currency,
            "BillingPeriodStart": self.since, "BillingPeriodEnd": self.until, "InvoiceId": self.invoice,
            "InvoiceIssuerName": self.issuer, "ProviderName": self.issuer, "PublisherName": self.issuer,
            "ServiceCategory": category, "ServiceSubcategory": subcategory, "ServiceName": name,
            "ChargePeriodStart": self.since, "ChargePeriodEnd": self.until, **columns,
        }  # fmt: skip


def usage(account: Account, used: Used, start: datetime, end: datetime, name: str | None) -> Row | None:
    """What one thing used of one meter in [``start``, ``end``); None where that has no price.

    The costs are the product of the quantity and the price as they are printed, and not rounded.
    """
    price = used.price
    if used.prices is None or price is None or used.thing is None or not used.amount:
        return None
    kind, pk = used.thing
    currency, unit = used.prices.currency, f"{METERS[used.meter].unit}-Hours"
    quantity = Decimal(unit_hours_of(used.meter, used.amount, digits=_DIGITS))
    sku = f"{used.meter}/{used.word}" if used.word else used.meter
    label = f"{_METERS[used.meter]}, {used.word}" if used.word else _METERS[used.meter]
    return account.charge(
        currency, quantity * price, _SERVICES[used.meter],
        ChargeCategory="Usage", ChargeFrequency="Usage-Based",
        ChargeClass="Correction" if used.correction and start < account.since else None,
        ChargeDescription=f"{'Correction: ' if used.correction else ''}{label}, at {currency} {price.normalize():f}",
        ChargePeriodStart=start, ChargePeriodEnd=end, PricingCategory="Standard",
        ConsumedQuantity=quantity, ConsumedUnit=unit, PricingQuantity=quantity, PricingUnit=unit,
        ListUnitPrice=price, ContractedUnitPrice=price,
        ResourceId=str(pk), ResourceName=name, ResourceType=_RESOURCES.get(kind, kind),
        SkuId=sku, SkuMeter=_METERS[used.meter], SkuPriceId=f"{sku}/{currency}-{price.normalize():f}",
        SkuPriceDetails=json.dumps({f"x_{METERS[used.meter].word}": used.word}) if used.word else None,
    )  # fmt: skip


def rounding(account: Account, currency: str, amount: Decimal) -> Row:
    """What lines that are whole coins differ by from what they are made of."""
    said = "Lines of the statement are rounded to the smallest coin"
    return account.charge(
        currency, amount, _INVOICING, ChargeCategory="Adjustment", ChargeFrequency="Recurring", ChargeDescription=said
    )


def taxed(account: Account, tax: Tax) -> Row:
    """What a rate adds to the lines that it is for."""
    said = f"Tax of {tax.percent.normalize():f} %"
    return account.charge(
        tax.currency, tax.amount, _INVOICING, ChargeCategory="Tax", ChargeFrequency="Recurring", ChargeDescription=said
    )


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """A table with a head, in pieces; no cell is one that a spreadsheet would run."""
    yield _lines([COLUMNS])
    for piece in batched(rows, _BATCH):
        yield _lines([_cell(name, row) for name in COLUMNS] for row in piece)


def _lines(cells: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(cells)
    return text.getvalue()


def _cell(name: str, row: Mapping[str, Any]) -> str:
    value = row.get(name)
    if isinstance(value, datetime):
        return text_of(value)
    if isinstance(value, Decimal):
        shown = f"{value:f}"
        return shown if "." in shown else f"{shown}.0"
    if value is None:
        return ""
    return str(tame(value)) if name in TEXT else str(value)
