"""Some see money and nothing else: the role, a token that is cut to it, and an operator's for all projects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tenants.policy import MONEY
from tenants.services.tokens import Scope, token_create
from tests import factories
from tests.architecture.test_pages import browser
from tests.billing.ledgers import Ledger
from tests.portal.api.rest import Rest

pytestmark = pytest.mark.django_db
RECORDS = "/billing/usage-records"
OTHERS = [
    "/tenants/{0}/quota",
    "/tenants/{0}/audit-events",
    "/tenants/{0}/guests",
    "/tenants/{0}/events",
    "/tenants/{0}/export",
]


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


@pytest.fixture
def ledgers(data: None) -> tuple[Ledger, Ledger]:
    """Two houses that used something in an hour that is closed."""
    both = Ledger(), Ledger()
    for ledger in both:
        ledger.switch(0, 2)
    both[0].close(3)
    return both


def money_of(slug: str) -> list[str]:
    statements = f"/billing/tenants/{slug}/statements"
    return [
        f"{RECORDS}?tenant={slug}",
        f"/billing/verify?tenant={slug}",
        statements,
        f"{statements}/2026-03",
        "/billing/prices",
    ]


def test_the_role_of_billing_sees_money_and_nothing_else(ledgers: tuple[Ledger, Ledger]) -> None:
    slug, person = ledgers[0].house.tenant.slug, factories.user()
    factories.join(ledgers[0].house.tenant, person, role="billing")
    rest, client = Rest(factories.token_of(person)), browser(person)

    assert [rest.get(path).status for path in money_of(slug)] == [200] * 5
    assert {path: rest.get(path.format(slug)).status for path in OTHERS} == dict.fromkeys(OTHERS, 403)
    assert rest.get(RECORDS).status == 403
    assert rest.get(f"{RECORDS}?tenant={ledgers[1].house.tenant.slug}").status == 404
    for page in ("quota", "audit", "activity", "machines", "members"):
        assert client.get(f"/t/{slug}/{page}/").status_code == 403, page


def test_their_first_page_is_the_bill_and_listens_to_nothing(ledgers: tuple[Ledger, Ledger]) -> None:
    slug, person = ledgers[0].house.tenant.slug, factories.user()
    factories.join(ledgers[0].house.tenant, person, role="billing")

    answer = browser(person).get(f"/t/{slug}/", follow=True)

    text = answer.content.decode()
    assert answer.redirect_chain == [(f"/t/{slug}/bill/", 302)]
    assert "data-events" not in text, "it would be refused, and load itself again"
    assert "Search machines" not in text
    assert "data-events" in browser(ledgers[0].house.owner).get(f"/t/{slug}/bill/").content.decode()


def test_an_operators_token_of_money_reads_everybodys_and_nothing_else(
    ledgers: tuple[Ledger, Ledger], capsys: pytest.CaptureFixture[str]
) -> None:
    operator = factories.user(operator=True)
    call_command("create_token", operator.email, money=True)
    rest = Rest(capsys.readouterr().out.strip())

    tenants = {item["tenant"] for item in rest.get(RECORDS).json["items"]}

    assert tenants == {ledger.house.tenant.slug for ledger in ledgers}
    assert rest.get("/billing/verify").json["ok"]
    for ledger in ledgers:
        slug = ledger.house.tenant.slug
        assert [rest.get(path).status for path in money_of(slug)] == [200] * 5
        assert {path: rest.get(path.format(slug)).status for path in OTHERS} == dict.fromkeys(OTHERS, 403)
    for path in ("/hosts", "/tenants", "/operations", "/quota/verify"):
        assert rest.get(path).status == 403, path
    assert rest.post("/billing/price-lists", {"name": "x", "currency": "EUR"}).status == 403
    assert rest.post("/tenants", {"slug": "fresh", "name": "Fresh"}).status == 403


def test_a_customers_token_of_money_reads_no_more_than_their_project(ledgers: tuple[Ledger, Ledger]) -> None:
    house = ledgers[0].house
    _row, raw = token_create(house.owner, name="books", actor=factories.desk(), scope=Scope(sorted(MONEY)))
    rest = Rest(raw)

    assert rest.get(f"{RECORDS}?tenant={house.tenant.slug}").status == 200
    assert rest.get(RECORDS).status == 403
    assert rest.get(f"/tenants/{house.tenant.slug}/guests").status == 403


def test_a_token_of_money_is_made_on_the_page(ledgers: tuple[Ledger, Ledger]) -> None:
    slug, person = ledgers[0].house.tenant.slug, factories.user()
    factories.join(ledgers[0].house.tenant, person, role="member")

    form = {"name": "books", "scope": "money", "expires": "30", "role": ""}
    answer = browser(ledgers[0].house.owner).post(f"/t/{slug}/tokens/create/", form)

    assert answer.status_code in (200, 302)
    assert "usage" in browser(ledgers[0].house.owner).get(f"/t/{slug}/tokens/").content.decode().lower()
    assert "Usage, bills and prices alone" not in browser(person).get(f"/t/{slug}/tokens/").content.decode()
