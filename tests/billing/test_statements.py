"""What a month costs: lines that add up, prices that never change the past, and statements that stay as they were issued."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from billing.invoicing import Used, after, bill, month, owed, totals
from billing.metering import LAG
from billing.models import PriceList, Statement, UsageRecord
from billing.rating import Prices
from billing.selectors.statements import foreseen, written
from billing.services.prices import price_list_write, price_set
from billing.services.statements import statements_issue
from operations import runner
from portal.core.ids import uuid7
from tenants.scoping import tenant_scope
from tests import factories
from tests.billing.ledgers import HOUR, Ledger
from tests.portal.api.rest import Rest

OPEN = pytest.mark.django_db
MARCH, APRIL, MAY = (datetime(2026, number, 1, tzinfo=UTC) for number in (3, 4, 5))


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def retail(db: None) -> PriceList:
    with time_machine.travel(MARCH, tick=False):
        row = price_list_write(None, name="retail", currency="EUR", is_default=True, actor=factories.desk())
        price_set(row, meter="vcpus", amount=Decimal("0.01"), actor=factories.desk())
        price_set(row, meter="vcpus", word="large", amount=Decimal("0.03"), actor=factories.desk())
    return row


@pytest.fixture
def ledger(retail: PriceList) -> Ledger:
    """One machine of two vCPUs from the tenth hour of March 31st on, for twenty hours: four of them in April."""
    ledger = Ledger(begin=APRIL - 14 * HOUR)
    machine = ledger.switch(0, 2)
    ledger.switch(18 * 3600, 0, of=machine)
    return ledger


def get(ledger: Ledger, period: str = "2026-03", more: str = "") -> Any:
    path = f"/api/v1/billing/tenants/{ledger.house.tenant.slug}/statements/{period}{more}"
    return Rest(ledger.house.token).get(path)


# -- pure ------------------------------------------------------------------------------------------------------------


@given(
    price=st.decimals(0, 1000, places=10),
    seconds=st.integers(-(10**12), 10**12),
    digits=st.sampled_from([0, 2, 3]),
)
def test_a_line_is_the_exact_product_to_half_a_coin(price: Decimal, seconds: int, digits: int) -> None:
    amount = owed("memory_mib", price, seconds, digits)

    exact = Fraction(price) * seconds / (3600 * 1024)
    assert abs(Fraction(amount) - exact) * 2 <= Fraction(1, 10**digits)
    assert owed("memory_mib", price, -seconds, digits) == -amount


def test_half_a_coin_goes_up() -> None:
    assert owed("vcpus", Decimal("0.005"), 3600, 2) == Decimal("0.01")
    assert owed("vcpus", Decimal("0.0049999999"), 3600, 2) == Decimal("0.00")


@given(
    parts=st.lists(
        st.tuples(st.sampled_from(["vcpus", "disk_gib"]), st.sampled_from(["small", "large"]), st.integers(0, 10**9)),
        max_size=8,
    )
)
def test_lines_add_up_and_hold_every_second(parts: list[tuple[str, str, int]]) -> None:
    prices = Prices(
        "EUR",
        {("vcpus", ""): Decimal("0.0137"), ("vcpus", "large"): Decimal("0.03"), ("disk_gib", ""): Decimal("0.0001")},
    )
    lines = bill(Used(meter, {"flavor": word}, amount, prices) for meter, word, amount in parts)

    assert totals(lines).get("EUR", 0) == sum(line.amount for line in lines)
    assert sum(line.unit_seconds for line in lines) == sum(amount for _meter, _word, amount in parts)


def test_what_has_no_price_makes_no_line_and_what_is_free_does() -> None:
    prices = Prices("EUR", {("vcpus", ""): Decimal(0)})

    assert bill([Used("disk_gib", {}, 5, prices), Used("vcpus", {}, 5, None)]) == []
    assert [line.amount for line in bill([Used("vcpus", {}, 5, prices)])] == [0]


def test_months_follow_each_other() -> None:
    assert month("2024-02") == (datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))
    assert after(datetime(2025, 12, 1, tzinfo=UTC)) == datetime(2026, 1, 1, tzinfo=UTC)


# -- a month ---------------------------------------------------------------------------------------------------------


@OPEN
def test_a_month_holds_its_own_hours_only(ledger: Ledger) -> None:
    ledger.close(14 + 6)

    march, april = get(ledger).json, get(ledger, "2026-04").json

    assert march["lines"] == [
        {
            "kind": "usage", "meter": "vcpus", "word": "small", "unit": "vCPU-hour", "unit_hours": "28.000000",
            "unit_seconds": "100800", "price": "0.01", "currency": "EUR", "amount": "0.28",
        }
    ]  # fmt: skip
    assert (march["totals"], march["state"], march["forecast"]) == (
        [{"currency": "EUR", "amount": "0.28"}],
        "final",
        None,
    )
    assert (april["totals"], april["state"]) == ([{"currency": "EUR", "amount": "0.08"}], "provisional")
    assert (march["from"], march["to"]) == ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
    table = list(csv.DictReader(io.StringIO(get(ledger, more="/lines.csv").body.decode())))
    assert table == march["lines"]


@OPEN
def test_a_price_that_changes_holds_from_then_on(ledger: Ledger, retail: PriceList) -> None:
    with time_machine.travel(MARCH + HOUR, tick=False):
        price_set(retail, meter="vcpus", amount=Decimal("0.05"), valid_from=APRIL - 4 * HOUR, actor=factories.desk())
    ledger.close(20)

    assert [(line["price"], line["unit_hours"]) for line in get(ledger).json["lines"]] == [
        ("0.01", "20.000000"),
        ("0.05", "8.000000"),
    ]


@OPEN
def test_another_default_list_leaves_the_past_its_prices(ledger: Ledger) -> None:
    with time_machine.travel(APRIL - 4 * HOUR, tick=False):
        francs = price_list_write(None, name="francs", currency="CHF", is_default=True, actor=factories.desk())
        price_set(francs, meter="vcpus", amount=Decimal("1"), actor=factories.desk())
    ledger.close(20)

    assert get(ledger).json["totals"] == [{"currency": "CHF", "amount": "8.00"}, {"currency": "EUR", "amount": "0.20"}]


@OPEN
def test_the_forecast_says_what_it_will_come_to_if_nothing_changes(ledger: Ledger) -> None:
    running = ledger.switch(0, 1)
    ledger.close(4)
    foretold = get(ledger).json

    ledger.close(20)
    ledger.switch(19 * 3600, 0, of=running)

    assert foretold["state"] == "provisional"
    assert foretold["forecast"] == get(ledger).json["totals"]


@OPEN
def test_what_the_ledger_comes_to_is_what_the_records_come_to(ledger: Ledger) -> None:
    """Two ways to the same money: intervals cut at prices, and closed records."""
    other = ledger.switch(1234, 3, flavor="large")
    ledger.switch(40_001, 1, of=other, flavor="small")
    ledger.close(20)

    with tenant_scope(ledger.house.tenant):
        by_records = written(ledger.house.tenant, MARCH, APRIL)
        by_ledger = bill(foreseen(ledger.house.tenant, MARCH, APRIL))

    assert [(line["unit_seconds"], line["amount"]) for line in by_records["lines"]] == [
        (str(line.unit_seconds), f"{line.amount:.2f}") for line in by_ledger
    ]
    assert len(by_ledger) == 2


# -- issued ----------------------------------------------------------------------------------------------------------


@OPEN
def test_a_month_is_issued_once_when_it_is_final(ledger: Ledger) -> None:
    ledger.close(14 + LAG - 1)
    assert statements_issue() == 0
    ledger.close(14 + LAG)

    assert (statements_issue(), statements_issue()) == (1, 0)
    with tenant_scope(ledger.house.tenant):
        (row,) = Statement.objects.all()
    assert (row.period, row.content) == ("2026-03", get(ledger).json)


@OPEN
def test_what_was_wrong_with_a_final_month_is_on_the_next_ones_bill(ledger: Ledger) -> None:
    """It turns out that a machine which ran on until April 1st was off from the second hour on."""
    late = ledger.switch(0, 1)
    ledger.close(30)
    statements_issue()
    march = get(ledger).body

    ledger.switch(7200, 0, of=late, late=40 * 3600)
    ledger.close(44)

    assert get(ledger).body == march
    lines = get(ledger, "2026-04").json["lines"]
    (credit,) = [line for line in lines if line["kind"] == "correction"]
    with tenant_scope(ledger.house.tenant):
        real = sum(int(line.unit_seconds) for line in bill(foreseen(ledger.house.tenant, MARCH, MAY)))
    billed = sum(int(line["unit_seconds"]) for line in [*get(ledger).json["lines"], *lines])
    assert credit["amount"].startswith("-")
    assert billed == real


@OPEN
def test_who_used_nothing_gets_none_and_two_that_issue_make_one(ledger: Ledger) -> None:
    factories.tenant_with_owner()
    ledger.close(30)

    assert statements_issue() == 1
    with tenant_scope(ledger.house.tenant):
        assert Statement.objects.count() == 1


@OPEN
@pytest.mark.parametrize(
    "forged",
    [
        """UPDATE billing_statement SET content = jsonb_set(content, '{totals}', '[]')""",
        "UPDATE billing_price SET amount = amount * 2",
        "UPDATE billing_listturn SET since = since + interval '40 days'",
    ],
    ids=["a sum", "a price of the past", "a list's turn"],
)
def test_a_statement_that_is_not_what_its_records_come_to_is_found(forged: str, ledger: Ledger) -> None:
    ledger.close(30)
    statements_issue()
    call_command("verify_usage", since="2026-03-01")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in ("billing_statement", "billing_listturn"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(forged)

    with pytest.raises(CommandError, match=r"the statement of .* for 2026-03 is not what its records come to"):
        call_command("verify_usage", since="2026-03-01")


class Killed(BaseException):
    """The worker is gone."""


@OPEN
@pytest.mark.parametrize("point", ["statement.issue:before", "statement.billed:before"])
def test_killed_between_statements_the_rest_is_issued_alike(
    point: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.close(30)

    def die(here: str) -> None:
        if here == point:
            raise Killed

    monkeypatch.setattr(runner, "checkpoint", die)
    with pytest.raises(Killed):
        statements_issue()
    monkeypatch.setattr(runner, "checkpoint", lambda _here: None)
    statements_issue()

    with tenant_scope(ledger.house.tenant):
        (row,) = Statement.objects.all()
        assert row.content == written(ledger.house.tenant, MARCH, APRIL)
        assert row.issued_at == APRIL + LAG * HOUR


@OPEN
@pytest.mark.parametrize("table", ["billing_statement", "billing_listturn"])
@pytest.mark.parametrize("statement", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0}"])
def test_the_database_refuses_to_change_what_was_issued(statement: str, table: str, ledger: Ledger) -> None:
    ledger.close(30)
    statements_issue()
    column = "period" if table.endswith("statement") else "since"
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

        with pytest.raises(IntegrityError, match="written once"), transaction.atomic():
            cursor.execute(statement.format(table, column))


@OPEN
def test_months_are_listed_newest_first(ledger: Ledger) -> None:
    ledger.close(30)
    statements_issue()
    rest = Rest(ledger.house.token)
    listed = rest.get(f"/api/v1/billing/tenants/{ledger.house.tenant.slug}/statements").json["items"]

    assert [(item["period"], item["state"]) for item in listed] == [("2026-04", "provisional"), ("2026-03", "final")]


@OPEN
def test_more_months_that_were_issued_cost_no_more_queries(ledger: Ledger) -> None:
    ledger.close(30)
    statements_issue()
    rest, url = Rest(ledger.house.token), f"/api/v1/billing/tenants/{ledger.house.tenant.slug}/statements"
    rest.get(url)  # the token is noted down as used
    with CaptureQueriesContext(connection) as few:
        rest.get(url)
    with tenant_scope(ledger.house.tenant):
        first, issued = UsageRecord.objects.order_by("seq").first(), Statement.objects.get()
        assert first is not None
        first.pk, first.seq, first.resource_id, first.window_start = None, 1000, uuid7(), MARCH - timedelta(days=80)
        first.save(force_insert=True)
        for period in ("2025-12", "2026-01", "2026-02"):
            said = {**issued.content, "period": period}
            Statement.objects.create(tenant=issued.tenant, period=period, content=said, issued_at=issued.issued_at)

    with CaptureQueriesContext(connection) as more:
        listed = rest.get(url).json["items"]

    assert [each["period"] for each in listed] == ["2026-04", "2026-03", "2026-02", "2026-01", "2025-12"]
    assert len(more) == len(few)


@OPEN
@pytest.mark.parametrize(
    "period", ["2026", "2026-13", "2026-00", "26-03", "2026-3", "x-y", "2026-03-01", "0000-01", "9999-12"]
)
def test_no_month_is_not_there(period: str, ledger: Ledger) -> None:
    assert get(ledger, period).status == 404


@OPEN
def test_a_month_without_prices_has_no_lines(db: None) -> None:
    ledger = Ledger(begin=APRIL - timedelta(hours=10))
    ledger.switch(0, 1)
    ledger.close(30)

    assert statements_issue() == 0
    assert (get(ledger).json["lines"], get(ledger).json["totals"]) == ([], [])
