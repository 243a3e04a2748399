"""What was used as FOCUS 1.2: rows that add up to the statement, and that the specification's own validator takes."""

from __future__ import annotations

import csv
import io
import subprocess
import tracemalloc
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.focus import _METERS, _SERVICES, COLUMNS, as_csv
from billing.metering import LAG
from billing.meters import METERS
from billing.models import UsageRecord
from billing.selectors.focus import charges
from billing.services.prices import price_list_write, price_set
from billing.services.statements import statements_issue
from portal.core.ids import uuid7
from tenants.scoping import tenant_scope
from tests import factories
from tests.billing.ledgers import HOUR, Ledger
from tests.portal.api.rest import Rest

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[2]
RECORDS = "/api/v1/billing/usage-records.csv"
MARCH, APRIL = (datetime(2026, number, 1, tzinfo=UTC) for number in (3, 4))
Rows = list[dict[str, str]]


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def ledger() -> Ledger:
    """Prices that change within March and odd seconds of everything, from the last day of March to the second of April."""
    with time_machine.travel(MARCH, tick=False):
        retail = price_list_write(
            None, name="retail", currency="EUR", tax_percent=Decimal(19), is_default=True, actor=factories.desk()
        )
        for meter, amount in {"vcpus": "0.0123456789", "memory_mib": "0.0077", "disk_gib": "0.00013"}.items():
            price_set(retail, meter=meter, amount=Decimal(amount), actor=factories.desk())
        price_set(retail, meter="vcpus", word="large", amount=Decimal("0.03"), actor=factories.desk())
        price_set(
            retail, meter="memory_mib", amount=Decimal("0.0091"), valid_from=APRIL - 7 * HOUR, actor=factories.desk()
        )
    ledger = Ledger(begin=APRIL - 14 * HOUR)
    first, second = ledger.switch(0, 2), ledger.switch(1801, 3, flavor="large")
    ledger.switch(0, 1536, of=first, meter="memory_mib", flavor="small")
    ledger.switch(7, 41, meter="disk_gib", storage_class="fast")
    ledger.switch(3601 * 5, 5, of=first, flavor="=large")
    ledger.switch(3607 * 20, 0, of=second)
    ledger.switch(3599 * 30, 0, of=first)
    return ledger


@pytest.fixture
def billed(ledger: Ledger) -> Ledger:
    """March was issued; in April it turned out that another machine had been on since its last hours."""
    ledger.close(14 + LAG)
    ledger.switch(3600 * 11, 7, late=3600 * 13)
    assert statements_issue() == 1
    ledger.close(32)
    return ledger


def focus(ledger: Ledger, **words: str) -> Rows:
    return list(csv.DictReader(io.StringIO(text(ledger, **words), newline="")))


def text(ledger: Ledger, **words: str) -> str:
    asked = "&".join(f"{name.rstrip('_')}={value}" for name, value in words.items())
    answer = Rest(ledger.house.token).client.get(
        f"{RECORDS}?tenant={ledger.house.tenant.slug}&format=focus&{asked}",
        headers={"Authorization": f"Bearer {ledger.house.token}"},
    )
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content).decode()


def statement(ledger: Ledger, period: str) -> Any:
    return Rest(ledger.house.token).get(f"/api/v1/billing/tenants/{ledger.house.tenant.slug}/statements/{period}").json


def summed(rows: Rows, column: str = "BilledCost") -> Decimal:
    return sum((Decimal(row[column]) for row in rows), Decimal(0))


@pytest.mark.parametrize("period", ["2026-03", "2026-04"])
@pytest.mark.parametrize("column", ["BilledCost", "EffectiveCost", "ListCost", "ContractedCost"])
def test_a_month_adds_up_to_its_statement(billed: Ledger, period: str, column: str) -> None:
    rows = [row for row in focus(billed) if row["BillingPeriodStart"].startswith(period)]
    issued = statement(billed, period)

    assert summed([row for row in rows if row["ChargeCategory"] != "Tax"], column) == Decimal(
        issued["totals"][0]["amount"]
    )
    assert summed(rows, column) == Decimal(issued["gross"][0]["amount"])
    assert {row["InvoiceId"] for row in rows} == (
        {f"{billed.house.tenant.slug}/{period}"} if period == "2026-03" else {""}
    )
    roundings = [row for row in rows if row["ChargeCategory"] == "Adjustment"]
    assert abs(summed(roundings)) < Decimal("0.005") * len(issued["lines"]) + Decimal("0.000001")


def test_lines_are_made_of_rows(billed: Ledger) -> None:
    """Each line's unit-hours are those of its rows, to what the rows' digits can tell."""
    found: defaultdict[tuple[str, Decimal], Decimal] = defaultdict(Decimal)
    march = focus(billed, from_="2026-03-01T00:00:00Z", to="2026-04-01T00:00:00Z")
    for row in march:
        if row["ChargeCategory"] == "Usage":
            found[row["SkuId"], Decimal(row["ListUnitPrice"])] += Decimal(row["PricingQuantity"])

    lines = statement(billed, "2026-03")["lines"]
    assert len(lines) == len(found) >= 5
    for line in lines:
        sku = f"{line['meter']}/{line['word']}" if line["word"] else line["meter"]
        assert abs(found[sku, Decimal(line["price"])] - Decimal(line["unit_hours"])) < Decimal("0.000002")


def test_costs_are_the_product_as_it_is_printed(billed: Ledger) -> None:
    for row in focus(billed):
        if row["ChargeCategory"] == "Usage":
            exact = Decimal(row["PricingQuantity"]) * Decimal(row["ListUnitPrice"])
            assert {Decimal(row[name]) for name in COLUMNS if name.endswith("Cost")} == {exact}


def test_what_an_issued_month_was_wrong_by_is_a_correction(billed: Ledger) -> None:
    rows = [row for row in focus(billed) if row["ChargeDescription"].startswith("Correction")]

    assert rows
    assert {row["ChargeClass"] for row in rows} == {"Correction"}
    assert {row["BillingPeriodStart"] for row in rows} == {"2026-04-01T00:00:00Z"}
    assert {row["ChargePeriodStart"][:10] for row in rows} == {"2026-03-31"}


def test_months_that_are_cut_have_no_rounding_and_no_tax(billed: Ledger) -> None:
    cut = focus(billed, from_="2026-04-01T00:00:00Z", to="2026-04-20T00:00:00Z")

    assert {row["ChargeCategory"] for row in cut} == {"Usage"}


def test_what_was_billed_is_answered_in_the_same_bytes(billed: Ledger) -> None:
    march = text(billed, from_="2026-03-01T00:00:00Z", to="2026-04-01T00:00:00Z")
    billed.switch(3600 * 32, 2)
    billed.close(40)

    assert text(billed, from_="2026-03-01T00:00:00Z", to="2026-04-01T00:00:00Z") == march


def test_no_cell_is_a_formula(billed: Ledger) -> None:
    type(billed.house.tenant).objects.filter(pk=billed.house.tenant.pk).update(name="=cmd|' /C calc'!A0")

    names = {row["BillingAccountName"] for row in focus(billed)}

    assert names == {"'=cmd|' /C calc'!A0"}


@pytest.mark.parametrize("more", ["&limit=5", "&meter=vcpus", "&state=final", "&cursor=x", "&resource_id=x"])
def test_filters_of_records_are_refused(billed: Ledger, more: str) -> None:
    asked = f"{RECORDS}?tenant={billed.house.tenant.slug}&format=focus{more}"

    assert Rest(billed.house.token).get(asked).status == 422


def test_nobody_else_reads_it(billed: Ledger) -> None:
    stranger = factories.tenant_with_owner()
    asked = f"{RECORDS}?format=focus"

    assert Rest(stranger.token).get(f"{asked}&tenant={billed.house.tenant.slug}").status == 404
    assert Rest(stranger.token).get(asked).status == 403


def test_nothing_closed_is_a_head(ledger: Ledger) -> None:
    assert text(ledger) == ",".join(COLUMNS) + "\r\n"


def test_any_number_of_rows_costs_the_same_memory_and_queries(ledger: Ledger) -> None:
    ledger.close(3)
    tenant = ledger.house.tenant
    counts, peaks = [], []
    for more in (1_000, 6_000):
        with tenant_scope(tenant):
            last = UsageRecord.objects.order_by("-seq").values_list("seq", flat=True)[0]
            UsageRecord.objects.bulk_create(
                [
                    UsageRecord(
                        tenant=tenant, seq=last + 1 + number, resource_type="guest", resource_id=uuid7(), meter="vcpus",
                        window_start=ledger.begin, window_end=ledger.begin + HOUR, quantity=3600,
                        attributes={"flavor": "small"}, recorded_at=ledger.begin + HOUR,
                    )
                    for number in range(more)
                ],
                batch_size=2000,
            )  # fmt: skip
            tracemalloc.start()
            with CaptureQueriesContext(connection) as queries:
                written = sum(piece.count("\n") for piece in as_csv(charges(tenant, None, None, issuer="x")))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert written > more
        counts.append(len(queries))

    assert counts[0] == counts[1] < 12
    assert peaks[1] < 40 * 1024 * 1024


CRITERIA: Final = (
    "ACCOUNT_NAMING_SUPPORTED,PUBLIC_PRICE_LIST_SUPPORTED,NEGOTIATED_PRICING_SUPPORTED,USAGE_MEASUREMENT_SUPPORTED,"
    "UNIT_PRICING_SUPPORTED,BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED,RESOURCE_TYPE_ASSIGNMENT_SUPPORTED,"
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED"
)
"""What of the specification's conditions is so here, and asked of the rows."""


CONTRADICTIONS: Final = frozenset(
    f"ConsumedQuantity-C-{number}-C" for number in ("000", "003", "004", "005", "006")
) | frozenset(f"InvoiceId-C-{ending}" for ending in ("000-O", "003-C", "004-C", "005-C"))
"""Rules that the validator's model for 1.2 asks without their condition: a row that is no usage must have no quantity and must
have one; an invoice must be named and must not, where some months were issued and others were not."""
OTHER_CURRENCY: Final = frozenset(
    f"CostAndUsage-D-{number:03}-C" for number in (46, 47, 48, 50, 51, 52, 54, 55, 56)
) | frozenset(
    f"PricingCurrency{rule}"
    for rule in (
        "ContractedUnitPrice-C-001-M", "ContractedUnitPrice-C-002-M", "EffectiveCost-C-001-M", "EffectiveCost-C-002-M",
        "EffectiveCost-C-003-M", "EffectiveCost-C-004-M", "ListUnitPrice-C-001-M", "ListUnitPrice-C-002-M",
        "ListUnitPrice-C-003-M", "ListUnitPrice-C-004-C", "ListUnitPrice-C-005-C", "ListUnitPrice-C-007-C",
        "ListUnitPrice-C-008-M",
    )
)  # fmt: skip
"""Columns for prices in another currency than the bill's, which it asks of everybody who has a price list."""
ALLOWED: Final = {
    "ChargeCategory": {"Usage", "Adjustment", "Tax"},
    "ChargeClass": {"", "Correction"},
    "ChargeFrequency": {"Usage-Based", "Recurring"},
    "PricingCategory": {"", "Standard"},
    "ServiceCategory": {"Compute", "Storage", "Other"},
    "ServiceSubcategory": {
        "Virtual Machines", "Block Storage", "Backup Storage", "Other (Storage)", "Other (Other)",
    },
}  # fmt: skip
"""Of the words that FOCUS 1.2 allows those that fit here; the validator lets any word pass."""


@pytest.fixture(scope="session")
def validator() -> Path:
    """The public ``focus-validator`` in an environment of its own; what cannot be installed fails the tests."""
    subprocess.run(["bash", "-euc", "source bin/lib/bootstrap.sh; ensure_focus"], cwd=ROOT, check=True, timeout=900)
    return ROOT / ".venv/focus/bin/focus-validator"


def findings(validator: Path, table: Path) -> tuple[int, list[str]]:
    """How many rules of FOCUS 1.2 were passed, and those that were not."""
    report = table.with_suffix(".xml")
    command = [
        validator, "--data-file", table, "--validate-version", "1.2.0.1", "--focus-dataset", "CostAndUsage",
        "--block-download", "--applicability-criteria", CRITERIA, "--output-type", "unittest", "--output-destination", report,
    ]  # fmt: skip
    (package,) = (ROOT / ".venv/focus/lib").glob("python3*/site-packages/focus_validator")
    place = table.parent / "focus_validator"  # it reads its list of currencies from below where it is started
    place.symlink_to(package)
    subprocess.run(command, cwd=table.parent, capture_output=True, timeout=300)
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    names = {str(case.get("name")).partition(" ")[0] for case in failed}
    return len(cases) - len(failed) - len(skipped), sorted(names - CONTRADICTIONS - OTHER_CURRENCY)


def test_the_public_validator_takes_it(validator: Path, billed: Ledger, tmp_path: Path) -> None:
    table = tmp_path / "focus.csv"
    table.write_text(text(billed), newline="")

    passed, failed = findings(validator, table)

    assert failed == []
    assert passed > 200


def test_the_public_validator_finds_a_currency_that_is_none(validator: Path, billed: Ledger, tmp_path: Path) -> None:
    table = tmp_path / "focus.csv"
    table.write_text(text(billed).replace(",EUR,", ",EURO,"), newline="")

    assert any(name.startswith("BillingCurrency-C-") for name in findings(validator, table)[1])


def test_the_public_validator_finds_a_missing_column(validator: Path, billed: Ledger, tmp_path: Path) -> None:
    table = tmp_path / "focus.csv"
    table.write_text("".join(line.partition(",")[2] for line in text(billed).splitlines(keepends=True)), newline="")

    assert any(name.startswith("BilledCost-") for name in findings(validator, table)[1])


def test_every_word_is_one_that_is_allowed(billed: Ledger) -> None:
    rows = focus(billed)

    for column, words in ALLOWED.items():
        assert {row[column] for row in rows} <= words, column


def test_every_meter_has_its_words() -> None:
    """What no meter lacks: a price for each of them can be told."""
    assert set(_SERVICES) == set(_METERS) == set(METERS)
    assert {words[0] for words in _SERVICES.values()} <= ALLOWED["ServiceCategory"]
    assert {words[1] for words in _SERVICES.values()} <= ALLOWED["ServiceSubcategory"]
