"""An Idempotency-Key: done once, answered as often as asked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.conf import settings
from django.db import connection

from portal.core.clock import now
from tenants.models import ApiToken, IdempotentAnswer
from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Answer, Rest
from vms.models import Network, SshKey


@pytest.fixture
def house(db: None) -> House:
    return factories.tenant_with_owner()


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


def test_the_same_again_is_the_first_answer_again(house: House, rest: Rest) -> None:
    first = rest.post(f"{house.url}/networks", {"name": "a"}, Idempotency_Key="k")
    again = rest.post(f"{house.url}/networks", {"name": "a"}, Idempotency_Key="k")

    assert (first.status, "Idempotent-Replayed" in first.headers) == (201, False)
    assert (again.status, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.raw.content == first.raw.content
    for name in ("Location", "ETag", "Content-Type"):
        assert again.headers[name] == first.headers[name]
    with tenant_scope(house.tenant):
        assert Network.objects.count() == 1


def test_another_request_under_the_key_is_refused(house: House, rest: Rest) -> None:
    rest.post(f"{house.url}/networks", {"name": "a"}, Idempotency_Key="k")

    for path, body in (("/networks", {"name": "b"}), ("/networks?x=1", {"name": "a"}), ("/ssh-keys", {"name": "a"})):
        answer = rest.post(f"{house.url}{path}", body, Idempotency_Key="k")
        assert (answer.status, answer.json["code"]) == (422, "idempotency_mismatch")


def test_a_refusal_is_not_kept(house: House, rest: Rest) -> None:
    wrong = rest.post(f"{house.url}/networks", {"name": "Not a name"}, Idempotency_Key="k")
    right = rest.post(f"{house.url}/networks", {"name": "right"}, Idempotency_Key="k")

    assert (wrong.status, right.status) == (422, 201)
    assert IdempotentAnswer.objects.count() == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_has_between_one_and_255_characters(house: House, rest: Rest, key: str) -> None:
    answer = rest.post(f"{house.url}/networks", {"name": "a"}, Idempotency_Key=key)

    assert (answer.status, answer.json["code"]) == (422, "invalid_idempotency_key")
    assert rest.post(f"{house.url}/networks", {"name": "a"}, Idempotency_Key="x" * 255).status == 201


def test_a_secret_shown_once_is_kept_sealed_and_shown_again(house: House, rest: Rest) -> None:
    first = rest.post(f"{house.url}/tokens", {"name": "t"}, Idempotency_Key="k")
    again = rest.post(f"{house.url}/tokens", {"name": "t"}, Idempotency_Key="k")

    assert again.json["token"] == first.json["token"]
    assert first.json["token"] not in IdempotentAnswer.objects.get().body
    assert ApiToken.objects.filter(name="t").count() == 1


def test_keys_are_a_tokens_own(house: House, rest: Rest) -> None:
    _person, operator = factories.operator()
    rest.post(f"{house.url}/networks", {"name": "a"}, Idempotency_Key="k")

    answer = Rest(operator).post(f"{house.url}/networks", {"name": "b"}, Idempotency_Key="k")

    assert answer.status == 201


def test_a_key_is_forgotten_after_a_day(house: House, rest: Rest) -> None:
    rest.post(f"{house.url}/networks", {"name": "a"}, Idempotency_Key="k")
    IdempotentAnswer.objects.update(created_at=now() - settings.IDEMPOTENCY_RETENTION - timedelta(seconds=1))

    assert rest.post(f"{house.url}/networks", {"name": "b"}, Idempotency_Key="k").status == 201


def test_a_lost_membership_loses_the_answer_too(house: House, rest: Rest) -> None:
    person, token = factories.member_with(house.tenant, list(house.actor.permissions))
    path, body = f"{house.url}/networks", {"name": "a"}
    assert Rest(token).post(path, body, Idempotency_Key="k").status == 201
    members = rest.get(f"{house.url}/members?email={person.email}").json["items"]

    assert rest.delete(f"{house.url}/members/{members[0]['id']}").status == 204
    assert Rest(token).post(path, body, Idempotency_Key="k").status == 404


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_exactly_one_is_done() -> None:
    house = factories.tenant_with_owner()
    start = Barrier(8)

    def ask(_number: int) -> Answer:
        start.wait()
        try:
            body = {"name": "k", "public_key": key}
            return Rest(house.token).post(f"{house.url}/ssh-keys", body, Idempotency_Key="k")
        finally:
            connection.close()

    key = factories.public_key()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))

    assert {answer.status for answer in answers} == {201}
    assert len({answer.raw.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    with tenant_scope(house.tenant):
        assert SshKey.objects.count() == 1
