"""Quota by REST: soft limits, storage classes, wishes for more, and the recount."""

from __future__ import annotations

import pytest

from tenants.models import Quota
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("acme", limits={"guests": 2})


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


@pytest.fixture
def desk() -> Rest:
    return Rest(factories.operator()[1])


def lines(rest: Rest, house: House) -> dict[str, dict[str, object]]:
    return {line["name"]: line for line in rest.get(f"{house.url}/quota").json["quota"]}


def test_limits_of_a_class_of_one_machine_and_of_a_day_are_set_like_any(house: House, rest: Rest, desk: Rest) -> None:
    body = {"disk_gib:fast": 5, "guest_vcpus": 2, "guest_creates_per_day": 9, "soft": {"guests": 1}}

    changed = desk.patch(f"{house.url}/quota", body)

    assert changed.status == 200, changed
    shown = lines(rest, house)
    assert [shown[name]["limit"] for name in ("disk_gib:fast", "guest_vcpus", "guest_creates_per_day")] == [5, 2, 9]
    assert (shown["guests"]["soft_limit"], shown["guests"]["allowed"]) == (1, 2)
    assert [shown[name]["kind"] for name in ("disk_gib:fast", "guest_vcpus", "guest_creates_per_day")] == [
        "held", "each", "rate",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {"moons": 1},
        {"disk_gib:": 1},
        {"guests": "7"},
        {"disk_gib:x": -1},
        {"soft": {"guests": 3}},
        {"soft": {"moons": 1}},
    ],
    ids=["unknown", "no class", "text", "negative", "soft above hard", "unknown soft"],
)
def test_nonsense_changes_nothing(house: House, desk: Rest, body: dict[str, object]) -> None:
    before = lines(desk, house)

    assert desk.patch(f"{house.url}/quota", body).status == 422
    assert lines(desk, house) == before


def test_a_created_machine_counts_in_every_line_that_bounds_it(house: House, rest: Rest) -> None:
    factories.guest(house)

    used = {name: line["used"] for name, line in lines(rest, house).items() if line["used"]}

    assert used == {
        "guests": 1, "running_guests": 1, "vcpus": 1, "memory_mib": 256, "disk_gib": 1, "disk_gib:standard": 1,
        "volumes": 1, "networks": 1, "ports": 1, "addresses": 1, "guest_creates_per_day": 1,
    }  # fmt: skip


def test_one_asks_and_an_operator_grants_until_a_date(house: House, rest: Rest, desk: Rest) -> None:
    made = rest.post(f"{house.url}/quota-requests", {"wanted": {"guests": 5, "vcpus": 99}, "reason": "A sale."})

    assert made.status == 201, made
    path = made.headers["Location"]
    assert [item["id"] for item in desk.get("/quota-requests?state=pending").json["items"]] == [made.json["id"]]
    body = {"limits": {"guests": 4}, "until": "2099-01-01T00:00:00Z", "answer": "Four."}
    given = desk.post(f"/quota-requests/{made.json['id']}/approve", body)
    assert (given.status, given.json["state"], given.json["given"]) == (200, "granted", {"guests": 4}), given
    assert rest.get(path).json["answer"] == "Four."
    guests = lines(rest, house)["guests"]
    assert (guests["limit"], guests["allowed"], guests["grant_until"]) == (2, 4, "2099-01-01T00:00:00Z")
    assert desk.post(f"/quota-requests/{made.json['id']}/decline", {"answer": "No."}).json["code"] == "request_over"
    actions = [entry["action"] for entry in rest.get(f"{house.url}/audit-events").json["items"]]
    assert actions[:2] == ["quota.grant", "quota.ask"]


def test_one_is_withdrawn_by_its_project_only(house: House, rest: Rest) -> None:
    made = rest.post(f"{house.url}/quota-requests", {"wanted": {"guests": 5}, "reason": "A sale."}).json
    other = factories.tenant_with_owner("other")

    stolen = Rest(other.token).post(f"{other.url}/quota-requests/{made['id']}/withdraw")

    assert stolen.status == 404
    path = f"{house.url}/quota-requests/{made['id']}"
    assert rest.post(f"{path}/withdraw").json["state"] == "withdrawn"
    assert rest.post(f"{path}/withdraw").json["code"] == "request_over"
    assert Rest(other.token).get("/quota-requests").status == 403


@pytest.mark.parametrize(
    "body",
    [
        {"wanted": {}, "reason": "x"},
        {"wanted": {"guests": 2}, "reason": "x"},
        {"wanted": {"guests": None}, "reason": "x"},
        {"wanted": {"guests": 5}},
        {"wanted": {"guests": 5}, "reason": "x", "until": "2001-01-01T00:00:00Z"},
        {"wanted": {"guests": 5}, "reason": "x", "state": "approved"},
    ],
    ids=["nothing", "no more", "no limit", "no reason", "past", "decided by the asker"],
)
def test_a_wish_that_is_none_is_refused(house: House, rest: Rest, body: dict[str, object]) -> None:
    assert rest.post(f"{house.url}/quota-requests", body).status == 422


def test_the_recount_names_what_differs(house: House, desk: Rest) -> None:
    factories.guest(house)
    assert desk.get("/quota/verify").json == {"clean": True, "findings": []}

    Quota.objects.filter(tenant=house.tenant, resource="vcpus").update(used=7)

    finding = {"tenant": "acme", "resource": "vcpus", "counted": 7, "real": 1}
    assert desk.get("/quota/verify").json == {"clean": False, "findings": [finding]}


def test_a_dry_run_counts_what_a_creation_would(house: House, rest: Rest, desk: Rest) -> None:
    factories.host_up()
    flavor = factories.flavor("big", vcpus=4)
    body = {"name": "a", "flavor": str(flavor.pk), "image": str(factories.image().pk)}
    desk.patch(f"{house.url}/quota", {"guest_vcpus": 2, "running_guests": 0, "guest_creates_per_day": 0})

    foreseen = rest.post(f"{house.url}/guests?dry_run=true", body).json
    refused = rest.post(f"{house.url}/guests", body)

    assert not foreseen["fits"]
    assert refused.json["code"] == "over_quota"
    assert [reason["message"] for reason in foreseen["reasons"]] == [e["message"] for e in refused.json["errors"]]
    assert len(foreseen["reasons"]) == 3
    assert {line["name"] for line in foreseen["quota"]} >= {"running_guests", "guest_vcpus", "disk_gib:standard"}
    assert rest.post(f"{house.url}/guests?dry_run=true", {**body, "start": False}).json["quota"][1]["name"] == "vcpus"
