"""What people see of what they used: amounts that add up to the bill, the months before, and files to keep."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from billing.invoicing import shared_out
from billing.models import PriceList
from billing.selectors.months import month_so_far
from billing.services.prices import price_list_write, price_set
from billing.services.statements import statements_issue
from billing.views.bars import HEIGHT, bars
from tenants.journal.models import UsageInterval
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


@pytest.fixture
def retail(db: None) -> PriceList:
    with time_machine.travel(MARCH, tick=False):
        row = price_list_write(None, name="retail", currency="EUR", is_default=True, actor=factories.desk())
        for meter, amount in {"vcpus": "0.0137", "disk_gib": "0.00011"}.items():
            price_set(row, meter=meter, amount=Decimal(amount), actor=factories.desk())
    return row


@pytest.fixture
def ledger(db: None) -> Ledger:
    """A house whose use begins four hours before April."""
    return Ledger(begin=APRIL - 4 * HOUR)


def fill(ledger: Ledger, machines: int) -> None:
    """So many machines with two vCPUs, memory and a disk each, from the beginning on."""
    for _number in range(machines):
        guest = ledger.switch(0, 2)
        ledger.switch(0, 2048, of=guest, meter="memory_mib")
        ledger.switch(60, 7, meter="disk_gib", storage_class="standard")


def look(ledger: Ledger, at: datetime, more: str = "", client: Client | None = None) -> str:
    with time_machine.travel(at, tick=False):
        answer = (client or browser(ledger.house.owner)).get(f"/t/{ledger.house.tenant.slug}/bill/{more}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


# -- pure ------------------------------------------------------------------------------------------------------------


@given(
    parts=st.lists(st.fractions(-1000, 1000, max_denominator=997), min_size=1, max_size=12),
    off=st.integers(-6, 6),
    digits=st.sampled_from([0, 2, 3]),
)
def test_shares_add_up_to_the_coin_and_are_near_what_they_are(parts: list[Fraction], off: int, digits: int) -> None:
    exact = sum(parts) * 10**digits
    total = Decimal(round(exact) + off).scaleb(-digits)

    shares = shared_out(total, dict(enumerate(parts)), digits)

    assert sum(shares.values()) == total
    for number, part in enumerate(parts):
        assert abs(Fraction(shares[number]) - part) <= Fraction(1 + abs(off) + 1, 10**digits)


def test_bars_stand_on_each_other_and_none_is_higher_than_the_drawing() -> None:
    days = [(MARCH + timedelta(days=number)).date() for number in range(31)]
    past = {
        (days[0], "vcpus"): Decimal("1.00"),
        (days[0], "memory_mib"): Decimal("2.00"),
        (days[1], "vcpus"): Decimal(-1),
    }

    rects, ticks = bars(days, past, {(days[0], "vcpus"): Decimal("1.5")}, digits=2)

    assert ticks == [Decimal("6.00"), Decimal("4.00"), Decimal("2.00"), Decimal("0.00")]
    assert [(rect.kind, rect.y, rect.height) for rect in rects] == [
        ("f1", "125.0", "25.0"),
        ("f2", "75.0", "50.0"),
        ("f1 dim", "37.5", "37.5"),
    ]
    assert all(float(rect.y) >= 0 and float(rect.y) + float(rect.height) <= HEIGHT for rect in rects)


# -- the month so far ------------------------------------------------------------------------------------------------


@OPEN
def test_things_and_days_add_up_to_the_same_as_the_lines(ledger: Ledger, retail: PriceList) -> None:
    fill(ledger, 7)
    ledger.close(4 + 49)

    with tenant_scope(ledger.house.tenant):
        found = month_so_far(ledger.house.tenant, APRIL + 49 * HOUR)

    rest = Rest(ledger.house.token).get(f"/api/v1/billing/tenants/{ledger.house.tenant.slug}/statements/2026-04")
    assert [{"currency": "EUR", "amount": str(found.sums["EUR"])}] == rest.json["totals"]
    assert sum(found.things["EUR"].values()) == sum(found.days["EUR"].values()) == found.sums["EUR"]
    assert len(found.things["EUR"]) == 14
    assert {day.day for day, _meter in found.days["EUR"]} == {1, 2, 3}
    assert [{"currency": "EUR", "amount": str(found.foretold["EUR"])}] == rest.json["forecast"]
    so_far_and_ahead = found.sums["EUR"] + sum(found.ahead["EUR"].values())
    assert abs(so_far_and_ahead - found.foretold["EUR"]) <= Decimal("0.02")


@OPEN
def test_a_disk_is_with_the_machine_that_has_it_now(retail: PriceList) -> None:
    house = factories.tenant_with_owner()
    guest = factories.guest(house, name="web-1")
    with tenant_scope(house.tenant):
        disk = guest.volumes.get()
        spare = factories.volume(house, "spare")
    ledger = Ledger(house, begin=APRIL)
    for volume in (disk, spare):
        with time_machine.travel(APRIL, tick=False), tenant_scope(house.tenant), transaction.atomic():
            UsageInterval.objects.create(
                tenant=house.tenant, resource_type="volume", resource_id=volume.pk, meter="disk_gib", quantity=5000,
                attributes={"storage_class": "standard"}, started_at=APRIL, ended_at=APRIL + 5 * HOUR,
            )  # fmt: skip
    ledger.close(5)

    with tenant_scope(house.tenant):
        things = month_so_far(house.tenant, APRIL + 5 * HOUR).things["EUR"]

    text = look(ledger, APRIL + 6 * HOUR)
    assert things == {("guest", guest.pk): Decimal("2.75"), ("volume", spare.pk): Decimal("2.75")}
    assert "web-1" in text
    assert "spare" in text


@OPEN
def test_the_page_says_what_it_came_to_and_what_it_will(ledger: Ledger, retail: PriceList) -> None:
    fill(ledger, 1)
    ledger.close(4 + 10)

    text = look(ledger, APRIL + 10 * HOUR)

    assert "April 2026 so far" in text
    assert "<b>EUR 0.28</b>" in text  # 2 × 10 h × 0.0137 + 7 × 10 h × 0.00011
    assert "<b>EUR 20.28</b>" in text  # the same for 720 hours
    assert "20.0 vCPU hours" in text
    assert "no price" in text  # memory
    assert "EUR 0.0137 / vCPU" in text
    assert '<rect class="f1 dim"' in text
    assert "style=" not in text.partition("<main")[2]


@OPEN
def test_what_is_gone_has_no_name_and_is_counted_all_the_same(ledger: Ledger, retail: PriceList) -> None:
    gone = ledger.switch(0, 2)
    ledger.switch(5 * 3600, 0, of=gone)
    ledger.close(4 + 10)

    text = look(ledger, APRIL + 10 * HOUR)

    assert f"Gone; its id ended in {str(gone)[-8:]}" in text
    assert "EUR 0.03" in text


@OPEN
def test_more_machines_and_days_cost_no_more_queries(ledger: Ledger, retail: PriceList) -> None:
    fill(ledger, 2)
    other = Ledger(begin=ledger.begin)
    fill(other, 30)
    ledger.close(4 + 30)
    statements_issue()

    counts = []
    for house in (ledger, other):
        client = browser(house.house.owner)
        look(house, APRIL + 30 * HOUR, client=client)
        with CaptureQueriesContext(connection) as queries:
            look(house, APRIL + 30 * HOUR, client=client)
        counts.append(len(queries))

    assert counts[0] == counts[1]


@OPEN
def test_of_many_things_those_that_cost_most_are_named_and_the_rest_is_one(ledger: Ledger, retail: PriceList) -> None:
    fill(ledger, 15)
    ledger.close(4 + 3)

    assert "18 others" in look(ledger, APRIL + 3 * HOUR)


@OPEN
def test_where_nothing_has_a_price_the_page_says_so_and_counts(ledger: Ledger) -> None:
    fill(ledger, 1)
    ledger.close(4 + 3)

    text = look(ledger, APRIL + 3 * HOUR)

    assert "Nothing is charged" in text
    assert "6.0 vCPU hours" in text
    assert "no price" in text
    assert "Cost a day" not in text


@OPEN
def test_who_has_used_nothing_reads_what_will_stand_there(retail: PriceList) -> None:
    text = look(Ledger(), APRIL + HOUR)

    assert "An hour is closed five minutes after it is over" in text
    assert "Prices today" in text


# -- months ----------------------------------------------------------------------------------------------------------


@OPEN
def test_a_month_that_was_issued_stands_on_the_list_and_has_its_page_and_files(
    ledger: Ledger, retail: PriceList
) -> None:
    fill(ledger, 2)
    ledger.close(4 + 3)
    ledger.house.tenant.created_at = MARCH
    ledger.house.tenant.save(update_fields=["created_at"])
    assert "not final yet" in look(ledger, APRIL + 3 * HOUR)
    ledger.close(4 + 7)
    statements_issue()

    slug = ledger.house.tenant.slug
    said = Rest(ledger.house.token).get(f"/api/v1/billing/tenants/{slug}/statements/2026-03").json
    text = look(ledger, APRIL + 7 * HOUR)
    assert "March 2026" in text
    assert "not final yet" not in text
    assert ">final<" in text
    assert f"EUR {said['totals'][0]['amount']}" in text
    page = look(ledger, APRIL + 7 * HOUR, "2026-03/")
    for line in said["lines"]:
        assert f"EUR {line['amount']}" in page
        assert f"{line['unit_hours'].removesuffix('.000000')} " in page
    assert json.loads(browser(ledger.house.owner).get(f"/t/{slug}/bill/2026-03/statement.json").content) == said
    table = browser(ledger.house.owner).get(f"/t/{slug}/bill/2026-03/lines.csv")
    assert list(csv.DictReader(io.StringIO(table.content.decode()))) == said["lines"]
    assert table["Content-Disposition"] == f'attachment; filename="{slug}-2026-03.csv"'


@OPEN
def test_corrections_stand_apart(ledger: Ledger, retail: PriceList) -> None:
    late = ledger.switch(0, 2)
    ledger.close(4 + 8)
    statements_issue()
    ledger.switch(3600, 0, of=late, late=13 * 3600)
    ledger.close(4 + 14)

    page = look(ledger, APRIL + 14 * HOUR, "2026-04/")

    assert "Corrections of months before" in page
    assert "EUR -0.0" in page


@OPEN
@pytest.mark.parametrize("period", ["2026-13", "x", "2026-3"])
def test_what_is_no_month_has_no_page(period: str, ledger: Ledger) -> None:
    client, slug = browser(ledger.house.owner), ledger.house.tenant.slug

    for more in ("", "lines.csv", "statement.json"):
        assert client.get(f"/t/{slug}/bill/{period}/{more}").status_code == 404


@OPEN
def test_who_may_not_see_money_has_no_way_there(ledger: Ledger) -> None:
    person = factories.user()
    factories.join(ledger.house.tenant, person, role="member")

    assert browser(person).get(f"/t/{ledger.house.tenant.slug}/bill/").status_code == 403
    assert "Usage and bill" not in browser(person).get(f"/t/{ledger.house.tenant.slug}/quota/").content.decode()
    assert "Usage and bill" in browser(ledger.house.owner).get(f"/t/{ledger.house.tenant.slug}/quota/").content.decode()
