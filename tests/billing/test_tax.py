"""Tax is added to what is owed: by rate, rounded once, shown apart; the past and what has none stay as they are."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pypdf
import pytest
import time_machine
from django.core.management import call_command
from hypothesis import given
from hypothesis import strategies as st

from billing.invoicing import Used, bill, taxes, totals
from billing.models import PriceList, Statement
from billing.rating import Prices
from billing.services.prices import price_list_write, price_set
from billing.services.statements import statements_issue
from portal.core.errors import Invalid
from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.billing.ledgers import HOUR, Ledger
from tests.portal.api.rest import Rest

OPEN = pytest.mark.django_db
MARCH, APRIL = (datetime(2026, number, 1, tzinfo=UTC) for number in (3, 4))


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


def a_list(name: str, tax: str, at: datetime = MARCH, *, default: bool = True) -> PriceList:
    with time_machine.travel(at, tick=False):
        fields: dict[str, Any] = {"currency": "EUR", "tax_percent": Decimal(tax), "is_default": default}
        row = price_list_write(None, name=name, actor=factories.desk(), **fields)
        price_set(row, meter="vcpus", amount=Decimal("0.01"), actor=factories.desk())
    return row


@pytest.fixture
def ledger(db: None) -> Ledger:
    """A machine of ten vCPUs for the last four hours of March."""
    ledger = Ledger(begin=APRIL - 4 * HOUR)
    machine = ledger.switch(0, 10)
    ledger.switch(4 * 3600, 0, of=machine)
    return ledger


def get(ledger: Ledger, more: str = "") -> Any:
    path = f"/api/v1/billing/tenants/{ledger.house.tenant.slug}/statements/2026-03"
    return Rest(ledger.house.token).get(path + more)


@given(
    parts=st.lists(
        st.tuples(st.integers(-(10**9), 10**9), st.sampled_from(["0", "7", "19", "25.55"]), st.booleans()), max_size=8
    )
)
def test_each_rate_is_added_once_to_the_sum_of_its_lines(parts: list[tuple[int, str, bool]]) -> None:
    lines = bill(
        Used(
            "vcpus", {}, amount, Prices("EUR", {("vcpus", ""): Decimal("0.0137")}, Decimal(tax)), correction=correction
        )
        for amount, tax, correction in parts
    )

    found = taxes(lines)

    assert len({tax.percent for tax in found}) == len(found)
    assert sum(tax.net for tax in found) + sum(line.amount for line in lines if not line.tax) == totals(lines).get(
        "EUR", 0
    )
    for tax in found:
        exact = Fraction(tax.net) * Fraction(tax.percent) / 100
        assert abs(Fraction(tax.amount) - exact) <= Fraction(1, 200)


@OPEN
def test_a_statement_shows_net_tax_and_gross_everywhere(ledger: Ledger) -> None:
    a_list("retail", "19")
    ledger.close(4 + 8)
    statements_issue()

    said = get(ledger).json

    assert said["totals"] == [{"currency": "EUR", "amount": "0.40"}]
    assert said["taxes"] == [{"currency": "EUR", "percent": "19", "net": "0.40", "amount": "0.08"}]
    assert said["gross"] == [{"currency": "EUR", "amount": "0.48"}]
    assert [line["tax_percent"] for line in said["lines"]] == ["19"]
    with tenant_scope(ledger.house.tenant):
        assert Statement.objects.get().content == said
    call_command("verify_usage", since="2026-03-01")
    assert list(csv.DictReader(io.StringIO(get(ledger, "/lines.csv").body.decode()))) == said["lines"]
    pdf = pypdf.PdfReader(io.BytesIO(get(ledger, "/statement.pdf").body)).pages[0].extract_text()
    page = browser(ledger.house.owner).get(f"/t/{ledger.house.tenant.slug}/bill/2026-03/").content.decode()
    for text in (pdf, page):
        for words in ("Total without tax", "19 % tax on EUR 0.40", "To pay", "EUR 0.48", "EUR 0.08"):
            assert words in " ".join(text.split()), words


@OPEN
def test_another_rate_is_another_list_and_leaves_what_was_used_before_its_own(ledger: Ledger) -> None:
    a_list("old", "19")
    a_list("new", "7", at=APRIL - 2 * HOUR)
    ledger.close(4 + 8)

    said = get(ledger).json

    assert [(tax["percent"], tax["net"], tax["amount"]) for tax in said["taxes"]] == [
        ("7", "0.20", "0.01"),
        ("19", "0.20", "0.04"),
    ]
    assert said["gross"] == [{"currency": "EUR", "amount": "0.45"}]


@OPEN
def test_without_tax_a_statement_has_the_shape_it_always_had(ledger: Ledger) -> None:
    a_list("retail", "0")
    ledger.close(4 + 8)

    said = get(ledger).json

    assert {"taxes", "gross"} & said.keys() == set()
    assert "tax_percent" not in said["lines"][0]
    assert "tax_percent" not in get(ledger, "/lines.csv").body.decode()


@OPEN
def test_a_list_keeps_its_tax() -> None:
    row = a_list("retail", "19")

    with pytest.raises(Invalid) as refusal:
        price_list_write(row, actor=factories.desk(), tax_percent=Decimal(7))

    assert [error.pointer for error in refusal.value.errors] == ["/tax_percent"]


@OPEN
@pytest.mark.parametrize("tax", ["-1", "100.01", "1.234", "x"])
def test_what_is_no_share_is_refused(tax: str) -> None:
    _person, token = factories.operator()
    answer = Rest(token).post("/billing/price-lists", {"name": "a", "currency": "EUR", "tax_percent": tax})

    assert answer.status == 422
    assert answer.json["errors"][0]["pointer"] == "/tax_percent"


@OPEN
def test_a_list_says_its_tax(ledger: Ledger) -> None:
    _person, token = factories.operator()
    body = {"name": "a", "currency": "EUR", "tax_percent": "8.10", "is_default": True}

    answer = Rest(token).post("/billing/price-lists", body)

    assert (answer.status, answer.json["tax_percent"]) == (201, "8.1")
    assert Rest(token).post("/billing/price-lists", {"name": "b", "currency": "EUR"}).json["tax_percent"] == "0"
