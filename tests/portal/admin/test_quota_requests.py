"""Operators answer wishes for a larger quota on their own site."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tenants.models import Quota, QuotaRequest, RequestState
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.quota import quota_request_make
from tests import factories
from tests.architecture.test_pages import browser

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_row() -> QuotaRequest:
    house = factories.tenant_with_owner("acme", limits={"guests": 2, "vcpus": 4})
    with tenant_scope(house.tenant):
        return quota_request_make(house.tenant, {"guests": 9, "vcpus": 40}, reason="A sale.", actor=house.actor)


@pytest.fixture
def desk() -> Client:
    return browser(factories.operator()[0])


def do(desk: Client, row: QuotaRequest, name: str, answers: dict[str, str]) -> Any:
    return desk.post(reverse("admin:tenants_quotarequest_deed", args=[row.pk, name]), answers)


def fresh(row: QuotaRequest) -> QuotaRequest:
    with every_tenant(why="test"):
        return QuotaRequest.objects.select_related("tenant").get(pk=row.pk)


def test_a_part_is_granted_until_a_day(desk: Client, request_row: QuotaRequest) -> None:
    answers = {"guests": "5", "vcpus": "", "until": "2099-01-31", "answer": "Five."}

    answer = do(desk, request_row, "approve", answers)

    assert answer.status_code == 302, answer.content.decode()
    row = fresh(request_row)
    assert (row.state, row.given, row.answer) == (RequestState.GRANTED, {"guests": 5}, "Five.")
    assert row.until is not None
    assert row.until.isoformat() == "2099-02-01T00:00:00+00:00"
    assert Quota.objects.get(tenant=row.tenant, resource="guests").grant_limit == 5


def test_one_is_declined_only_in_words(desk: Client, request_row: QuotaRequest) -> None:
    assert do(desk, request_row, "decline", {"answer": ""}).status_code == 200
    do(desk, request_row, "decline", {"answer": "The rack is full."})

    assert (fresh(request_row).state, fresh(request_row).answer) == (RequestState.DECLINED, "The rack is full.")


def test_what_cannot_be_granted_says_why(desk: Client, request_row: QuotaRequest) -> None:
    answer = do(desk, request_row, "approve", {"guests": "1", "vcpus": "", "until": "", "answer": ""})

    assert fresh(request_row).state == RequestState.PENDING
    assert answer.status_code != 302
