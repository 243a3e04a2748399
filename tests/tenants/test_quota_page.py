"""The page of limits: what is in use, what binds when, and asking for more."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from portal.core.clock import now
from tenants.models import Quota, QuotaRequest, RequestState
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.quota import quota_request_approve, quota_request_make, quota_set
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("acme", limits={"guests": 2})


@pytest.fixture
def client(house: House) -> Client:
    return browser(house.owner)


PAGE = "/t/acme/quota/"


def requests() -> list[QuotaRequest]:
    with every_tenant(why="test"):
        return list(QuotaRequest.objects.all())


def test_it_shows_soft_limits_grants_maxima_and_rates(house: House, client: Client) -> None:
    with tenant_scope(house.tenant):
        limits = {"guest_vcpus": 3, "guest_creates_per_day": 17}
        quota_set(house.tenant, limits, soft={"guests": 1}, actor=factories.desk())
        request = quota_request_make(house.tenant, {"vcpus": 77}, reason="A sale.", actor=house.actor)
    quota_request_approve(request, until=now() + timedelta(days=3), answer="Till Friday.", actor=factories.desk())
    Quota.objects.filter(tenant=house.tenant, resource="guests").update(used=2, soft_since=now())

    text = client.get(PAGE).content.decode()

    for words in ("of 77", "Raised until", "Above the soft limit of 1", "of 17", "vCPUs a machine", "Till Friday."):
        assert words in text, words


def test_one_asks_and_withdraws(house: House, client: Client) -> None:
    asked = client.post(f"{PAGE}ask/", {"guests": "9", "reason": "A sale.", "until": "2099-01-31"})

    assert asked.status_code == 302, asked.content
    (request,) = requests()
    assert (request.wanted, request.reason) == ({"guests": 9}, "A sale.")
    assert request.wanted_until is not None
    assert request.wanted_until.isoformat() == "2099-02-01T00:00:00+00:00"
    assert "Withdraw" in client.get(PAGE).content.decode()
    client.post(f"{PAGE}requests/{request.pk}/withdraw/")
    assert requests()[0].state == RequestState.WITHDRAWN


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": "x"},
        {"guests": "2", "reason": "x"},
        {"guests": "9"},
        {"guests": "9", "reason": "x", "until": "2001-01-01"},
    ],
    ids=["nothing", "no more", "no reason", "past"],
)
def test_what_is_wrong_stands_beside_its_field(client: Client, fields: dict[str, str]) -> None:
    answer = client.post(f"{PAGE}ask/", fields)

    assert answer.status_code == 422
    assert "gh-err" in answer.content.decode() or 'role="alert"' in answer.content.decode()
    assert requests() == []


def test_a_viewer_sees_no_form_and_may_not_ask(house: House) -> None:
    looker = factories.user()
    factories.join(house.tenant, looker, role="viewer")
    client = browser(looker)

    assert "Ask an owner" in client.get(PAGE).content.decode()
    assert client.post(f"{PAGE}ask/", {"guests": "9", "reason": "x"}).status_code == 403
