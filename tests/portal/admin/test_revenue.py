"""The operators' page of what projects owe: sums that are the statements', another list's prices, and what is late."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import PriceList
from billing.services.prices import price_list_write, price_set
from billing.services.statements import statements_issue
from tests import factories
from tests.architecture.test_pages import browser
from tests.billing.ledgers import HOUR, Ledger
from tests.portal.api.rest import Rest

pytestmark = pytest.mark.django_db
MARCH, APRIL = (datetime(2026, number, 1, tzinfo=UTC) for number in (3, 4))


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


def a_list(name: str, currency: str, amount: str, *, default: bool = False) -> PriceList:
    with time_machine.travel(MARCH, tick=False):
        row = price_list_write(None, name=name, currency=currency, is_default=default, actor=factories.desk())
        price_set(row, meter="vcpus", amount=Decimal(amount), actor=factories.desk())
    return row


def houses(*vcpus: int) -> list[Ledger]:
    """One for each, with that many vCPUs for the last four hours of March."""
    found = [Ledger(begin=APRIL - 4 * HOUR) for _each in vcpus]
    for ledger, amount in zip(found, vcpus, strict=True):
        machine = ledger.switch(0, amount)
        ledger.switch(4 * 3600, 0, of=machine)
    return found


def look(more: str = "", client: Client | None = None, at: datetime = APRIL + 10 * HOUR) -> str:
    with time_machine.travel(at, tick=False):
        answer = (client or browser(factories.user(operator=True))).get(f"/operator/revenue/{more}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_it_adds_up_what_was_issued_and_says_who_owes_most() -> None:
    a_list("retail", "EUR", "0.01", default=True)
    small, large = houses(10, 25)
    small.close(4 + 8)
    statements_issue()

    text = look()

    totals = [
        Rest(each.house.token)
        .get(f"/api/v1/billing/tenants/{each.house.tenant.slug}/statements/2026-03")
        .json["totals"]
        for each in (small, large)
    ]
    assert totals == [[{"currency": "EUR", "amount": "0.40"}], [{"currency": "EUR", "amount": "1.00"}]]
    assert "EUR 1.40" in text
    assert "March 2026" in text
    assert text.index(f">{large.house.tenant.name}</a>") < text.index(f">{small.house.tenant.name}</a>")
    assert "Not issued yet" not in text


def test_what_is_not_issued_stands_as_it_is_so_far() -> None:
    a_list("retail", "EUR", "0.01", default=True)
    (ledger,) = houses(10)
    ledger.close(4 + 2)

    text = look()

    assert "so far" in text
    assert "EUR 0.40" in text


def test_another_list_says_what_it_would_have_made_and_changes_nothing() -> None:
    a_list("retail", "EUR", "0.01", default=True)
    cheap = a_list("cheap", "CHF", "0.5")
    (ledger,) = houses(10)
    ledger.close(4 + 8)
    statements_issue()
    with time_machine.travel(APRIL, tick=False):
        price_set(cheap, meter="vcpus", amount=Decimal("0.002"), valid_from=APRIL + 999 * HOUR, actor=factories.desk())

    text = look("?month=2026-03&list=cheap")

    assert "At the prices of cheap" in text
    assert "CHF 0.08" in text  # the announced price
    assert "EUR 0.40" in text
    assert "CHF" not in look("?month=2026-03")


def test_hours_and_months_that_wait_are_told() -> None:
    a_list("retail", "EUR", "0.01", default=True)
    (ledger,) = houses(10)
    ledger.close(4 + 8)
    statements_issue()

    text = look(at=datetime(2026, 5, 2, tzinfo=UTC))

    assert "736 hours are over and not closed" in text
    assert "Not issued yet: April 2026" in text


@pytest.mark.parametrize("more", ["?month=2026-13", "?month=x", "?list=never-was"])
def test_what_is_no_month_or_list_is_not_there(more: str) -> None:
    assert browser(factories.user(operator=True)).get(f"/operator/revenue/{more}").status_code == 404


def test_more_projects_cost_no_more_queries() -> None:
    a_list("retail", "EUR", "0.01", default=True)
    client, counts = browser(factories.user(operator=True)), []
    for amount in (2, 12):
        ledgers = houses(*range(1, amount))
        ledgers[0].close(4 + 2)
        look(client=client)
        with CaptureQueriesContext(connection) as queries:
            look("?month=2026-03&list=retail", client=client)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_nobody_but_operators_finds_it() -> None:
    assert browser(factories.tenant_with_owner().owner).get("/operator/revenue/").status_code == 404
