"""Operations by REST."""

from __future__ import annotations

import pytest

from tenants.scoping import every_tenant
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner()


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


def test_an_operation_has_the_shape_of_the_contract(house: House, rest: Rest) -> None:
    guest, operation = factories.guest_building(house, "web")

    answer = rest.get(f"{house.url}/operations/{operation.pk}")

    facts = answer.json
    assert facts["subject"] == {"type": "guest", "id": str(guest.pk), "name": "web"}
    assert (facts["kind"], facts["label"], facts["status"]) == ("guest.create", "Create web", "queued")
    assert (facts["progress"], facts["error"], facts["children"]) == (0, None, [])
    assert facts["requested_by"] == house.owner.email
    assert facts["created_at"].endswith("Z")
    assert facts["started_at"] is None
    assert facts["finished_at"] is None
    assert "tenant" not in facts


def test_only_a_live_one_is_marked_for_waiting_and_progress_keeps_the_etag(house: House, rest: Rest) -> None:
    _guest, operation = factories.guest_building(house)
    path = f"{house.url}/operations/{operation.pk}"
    queued = rest.get(path)

    with every_tenant(why="test"):
        factories.operation_done(operation)
    done = rest.get(path)

    assert queued.headers["x-operation-live"] == "1"
    assert "x-operation-live" not in done.headers
    assert done.json["status"] == "succeeded"
    assert done.json["progress"] == 100
    assert queued.headers["ETag"] != done.headers["ETag"]


def test_a_failure_says_why_and_the_hosts_words_are_for_operators(house: House, rest: Rest) -> None:
    _guest, operation = factories.guest_building(house)
    with every_tenant(why="test"):
        factories.operation_broken(operation)
    _person, token = factories.operator()

    told = rest.get(f"{house.url}/operations/{operation.pk}").json["error"]
    known = Rest(token).get(f"/operations/{operation.pk}").json

    assert told == {"code": "storage_full", "message": "It did not work.", "hint": "Try again."}
    assert known["error"]["detail"] == "the host said no"
    assert known["tenant"] == house.tenant.slug


def test_a_queued_one_is_called_off_once(house: House, rest: Rest) -> None:
    _guest, operation = factories.guest_building(house)
    path = f"{house.url}/operations/{operation.pk}"

    assert rest.get(path).json["cancellable"] is True
    assert rest.post(f"{path}/cancel").json["status"] == "cancelled"
    assert rest.post(f"{path}/cancel").json["code"] == "operation_over"


def test_operations_are_filtered(house: House, rest: Rest) -> None:
    guest, _operation = factories.guest_building(house, "web")
    factories.guest(house, "db")

    def found(query: str) -> list[str]:
        return [item["subject"]["name"] for item in rest.get(f"{house.url}/operations?{query}").json["items"]]

    assert found("") == ["db", "web"]
    assert found("status=succeeded") == ["db"]
    assert found("q=we") == ["web"]
    assert found(f"subject_id={guest.pk}") == ["web"]
    assert found("subject_id=x") == []
    assert found("kind=guest.stop") == []
    assert rest.get(f"{house.url}/operations?status=odd").status == 422


def test_an_operator_hurries_what_waits(house: House) -> None:
    _guest, operation = factories.guest_building(house)
    _person, token = factories.operator()

    assert Rest(token).post(f"/operations/{operation.pk}/retry").json["status"] == "queued"
    with every_tenant(why="test"):
        factories.operation_done(operation)
    assert Rest(token).post(f"/operations/{operation.pk}/retry").json["code"] == "not_waiting"
