"""How often a token and a tenant may ask."""

from __future__ import annotations

from typing import Any

import pytest

from portal.core import rates
from tests import factories
from tests.portal.api.rest import Rest

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute that does not end in the middle of a test."""
    monkeypatch.setattr(rates.time, "time", lambda: 1_800_000_020.0)


def test_every_answer_says_what_is_left(settings: Any) -> None:
    house, settings.API_RATE_PER_MINUTE = factories.tenant_with_owner(), 5
    rest = Rest(house.token)

    left = [rest.get(f"{house.url}/guests").headers["RateLimit-Remaining"] for _ in range(3)]

    assert left == ["4", "3", "2"]
    assert rest.get("/nothing").headers["RateLimit-Limit"] == "5"
    assert rest.get("/me").headers["RateLimit-Reset"] == "40"


def test_beyond_the_limit_is_a_429_that_says_when(settings: Any) -> None:
    house, settings.API_RATE_PER_MINUTE = factories.tenant_with_owner(), 2
    rest = Rest(house.token)

    answers = [rest.get("/me") for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[-1].json["code"] == "rate_limited"
    assert answers[-1].headers["Retry-After"] == "40"
    assert answers[-1].headers["RateLimit-Remaining"] == "0"


def test_a_tenants_tokens_share_its_limit_and_others_do_not(settings: Any) -> None:
    settings.API_TENANT_RATE_PER_MINUTE = 2
    house, other = factories.tenant_with_owner(), factories.tenant_with_owner()
    _person, second = factories.member_with(house.tenant, list(house.actor.permissions))

    path = f"{house.url}/guests"
    statuses = [Rest(token).get(path).status for token in (house.token, second, house.token)]

    assert statuses == [200, 200, 429]
    assert Rest(house.token).get("/me").status == 200
    assert Rest(other.token).get(f"{other.url}/guests").status == 200


def test_without_redis_nobody_is_shut_out_and_limits_still_hold(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house, settings.API_RATE_PER_MINUTE = factories.tenant_with_owner(), 2
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    monkeypatch.setattr(rates, "_alone", rates._Alone())

    statuses = [Rest(house.token).get("/me").status for _ in range(3)]

    assert statuses == [200, 200, 429]
