"""A statement to print: every line and sum of it, in any letters, and the same bytes each time."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pypdf
import pytest
import time_machine

from billing.printing import as_pdf
from billing.services.prices import price_list_write, price_set
from tests import factories
from tests.architecture.test_pages import browser
from tests.billing.ledgers import HOUR, Ledger
from tests.portal.api.rest import Rest

MARCH, APRIL = (datetime(2026, number, 1, tzinfo=UTC) for number in (3, 4))


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


@pytest.fixture
def ledger(db: None) -> Ledger:
    """A machine that ran for the last four hours of March."""
    with time_machine.travel(MARCH, tick=False):
        row = price_list_write(None, name="retail", currency="EUR", is_default=True, actor=factories.desk())
        for meter, amount in {"vcpus": "0.0137", "memory_mib": "0.0021"}.items():
            price_set(row, meter=meter, amount=Decimal(amount), actor=factories.desk())
    ledger = Ledger(begin=APRIL - 4 * HOUR)
    guest = ledger.switch(0, 2)
    ledger.switch(0, 4096, of=guest, meter="memory_mib")
    ledger.close(4 + 8)
    return ledger


def words(pdf: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages).split())


def statement(**changes: Any) -> dict[str, Any]:
    line = {
        "kind": "usage", "meter": "vcpus", "word": "small", "unit": "vCPU-hour", "unit_hours": "28.000000",
        "unit_seconds": "100800", "price": "0.01", "currency": "EUR", "amount": "0.28",
    }  # fmt: skip
    return {
        "tenant": "acme", "period": "2026-03", "from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z",
        "state": "final", "lines": [line], "totals": [{"currency": "EUR", "amount": "0.28"}], "forecast": None, **changes,
    }  # fmt: skip


def test_every_line_and_the_sum_stand_in_it_by_rest_and_on_the_page(ledger: Ledger) -> None:
    slug = ledger.house.tenant.slug
    url = f"/api/v1/billing/tenants/{slug}/statements/2026-03"
    said = Rest(ledger.house.token).get(url).json

    answer = Rest(ledger.house.token).get(f"{url}/statement.pdf")
    page = browser(ledger.house.owner).get(f"/t/{slug}/bill/2026-03/statement.pdf")

    text = words(answer.body)
    assert (answer.headers["Content-Type"], page["Content-Type"]) == ("application/pdf",) * 2
    assert page["Content-Disposition"] == f'attachment; filename="{slug}-2026-03.pdf"'
    assert page.content == answer.body
    assert "Statement of March 2026" in text
    assert len(said["lines"]) == 2
    for line in said["lines"]:
        assert f"{line['unit_hours']} " in text
        assert f"EUR {line['price']} EUR {line['amount']}" in text
    assert f"Total EUR {said['totals'][0]['amount']}" in text


def test_the_same_statement_is_the_same_bytes_whenever_it_is_made() -> None:
    with time_machine.travel(APRIL, tick=False):
        first = as_pdf(statement(), name="Acme")
    with time_machine.travel(APRIL + 1000 * HOUR, tick=False):
        again = as_pdf(statement(), name="Acme")

    assert first == again
    assert first != as_pdf(statement(), name="Acne")


@pytest.mark.parametrize(
    "name", ["Überschall & Söhne", "Ελληνικά", "Дом гостей", "ბაღი", "Café ₤ №", "{nb} **b** __u__"]
)
def test_names_are_read_back_in_their_own_letters(name: str) -> None:
    assert name in words(as_pdf(statement(), name=name))


@pytest.mark.parametrize(
    "name",
    [
        "**bold** __under__ [a](https://x.test)",
        "</text> ) Tj /JS (alert)",
        "a\x00b\x1bc\r\nd",
        "x" * 300,
        "東京",
        "{nb}",
        "\u202eevil",
    ],
)
def test_hostile_names_are_only_words(name: str) -> None:
    pdf = as_pdf(statement(), name=name)

    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert all("/Annots" not in page for page in reader.pages)
    assert b"/JavaScript" not in pdf
    assert "/OpenAction" not in reader.trailer["/Root"] or "/JS" not in str(reader.trailer["/Root"]["/OpenAction"])
    assert "EUR 0.28" in words(pdf)


def test_many_lines_go_on_on_the_next_page_and_none_is_lost() -> None:
    line = statement()["lines"][0]
    lines = [{**line, "word": f"flavor-{number:03}", "amount": f"{number}.00"} for number in range(120)]

    pdf = as_pdf(statement(lines=lines), name="Acme")

    text = words(pdf)
    assert len(pypdf.PdfReader(io.BytesIO(pdf)).pages) > 2
    assert [number for number in range(120) if f"flavor-{number:03}" not in text] == []


def test_corrections_are_told_apart_and_nothing_used_says_so() -> None:
    line = {**statement()["lines"][0], "kind": "correction", "amount": "-0.28"}

    assert "Correction: vCPUs of running machines small" in words(as_pdf(statement(lines=[line]), name="Acme"))
    assert "Nothing that has a price was used." in words(as_pdf(statement(lines=[], totals=[]), name="Acme"))
