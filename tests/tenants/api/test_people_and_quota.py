"""Tenants, members, tokens, quota and the journal by REST."""

from __future__ import annotations

import pytest

from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("acme")


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


@pytest.fixture
def desk() -> Rest:
    return Rest(factories.operator()[1])


def test_me_says_who_and_where(house: House, rest: Rest) -> None:
    me = rest.get("/me").json

    assert (me["user"]["email"], me["user"]["operator"]) == (house.owner.email, False)
    assert [(tenant["slug"], tenant["role"]) for tenant in me["tenants"]] == [("acme", "owner")]
    assert me["token"]["permissions"] is None


def test_an_operator_makes_a_tenant_with_its_owner_and_limits(desk: Rest) -> None:
    owner = factories.user("boss@new.test")

    made = desk.post(
        "/tenants", {"slug": "newco", "name": "New", "owner": owner.email, "quota": {"guests": 3, "vcpus": None}}
    )

    assert made.status == 201, made
    assert made.headers["Location"] == "/api/v1/tenants/newco"
    limits = {line["name"]: line["limit"] for line in desk.get("/tenants/newco/quota").json["quota"]}
    assert (limits["guests"], limits["vcpus"], limits["networks"]) == (3, None, 5)
    assert desk.get("/tenants/newco/members").json["items"][0]["user"]["email"] == owner.email
    assert desk.post("/tenants", {"slug": "newco", "name": "Twice"}).json["code"] == "slug_taken"
    assert desk.post("/tenants", {"slug": "other", "name": "O", "owner": "no@body.test"}).status == 422
    assert [tenant["slug"] for tenant in desk.get("/tenants?q=Ne").json["items"]] == ["newco"]


def test_a_tenant_is_renamed_with_if_match(house: House, rest: Rest) -> None:
    first = rest.get(house.url).headers["ETag"]

    assert rest.patch(house.url, {"name": "Acme Ltd"}, If_Match=first).json["name"] == "Acme Ltd"
    assert rest.patch(house.url, {"name": "Other"}, If_Match=first).status == 412
    assert rest.patch(house.url, {"name": "Any"}, If_Match="*").status == 200


def test_a_quota_is_changed_by_operators_with_if_match(house: House, rest: Rest, desk: Rest) -> None:
    factories.guest(house)
    first = desk.get(f"{house.url}/quota")

    changed = desk.patch(f"{house.url}/quota", {"guests": 1, "disk_gib": None}, If_Match=first.headers["ETag"])

    lines = {line["name"]: line for line in changed.json["quota"]}
    assert (lines["guests"]["used"], lines["guests"]["limit"], lines["guests"]["kind"]) == (1, 1, "held")
    assert lines["disk_gib"]["limit"] is None
    assert desk.patch(f"{house.url}/quota", {"guests": 2}, If_Match=first.headers["ETag"]).status == 412
    assert rest.patch(f"{house.url}/quota", {"guests": 99}).status == 403
    assert desk.patch(f"{house.url}/quota", {"guests": -1}).status == 422
    assert desk.patch(f"{house.url}/quota", {"unicorns": 1}).status == 422


def test_members_come_change_and_go(house: House, rest: Rest, desk: Rest) -> None:
    person = factories.user("ann@acme.test")

    added = desk.post(f"{house.url}/members", {"email": "ANN@acme.test", "role": "viewer"})

    assert added.status == 201, added
    path = f"{house.url}/members/{added.json['id']}"
    assert desk.post(f"{house.url}/members", {"email": person.email, "role": "viewer"}).json["code"] == "already_member"
    assert desk.post(f"{house.url}/members", {"email": "no@body.test", "role": "viewer"}).status == 422
    assert rest.patch(path, {"role": "king"}).json["errors"][0]["pointer"] == "/role"
    assert rest.patch(path, {"role": "admin"}, If_Match=added.headers["ETag"]).json["role"] == "admin"
    assert rest.delete(path, If_Match=added.headers["ETag"]).status == 412
    assert rest.delete(path).status == 204
    assert rest.get(path).status == 404
    assert {role["name"] for role in rest.get(f"{house.url}/roles").json["items"]} >= {"owner", "admin", "member"}


def test_the_last_owner_stays(house: House, rest: Rest) -> None:
    mine = rest.get(f"{house.url}/members?role=owner").json["items"][0]["id"]

    assert rest.patch(f"{house.url}/members/{mine}", {"role": "viewer"}).json["code"] == "last_owner"
    assert rest.delete(f"{house.url}/members/{mine}").json["code"] == "last_owner"


def test_a_token_is_shown_once_and_dies_at_once(house: House, rest: Rest) -> None:
    made = rest.post(
        f"{house.url}/tokens", {"name": "ci", "permissions": ["guest.view"], "expires_at": "2099-01-01T00:00:00Z"}
    )
    secret, path = made.json["token"], f"{house.url}/tokens/{made.json['id']}"

    assert Rest(secret).get(f"{house.url}/guests").status == 200
    assert Rest(secret).get(f"{house.url}/networks").status == 403
    assert secret not in rest.get(f"{house.url}/tokens").raw.content.decode()
    assert rest.get(path).json["expires_at"] == "2099-01-01T00:00:00Z"
    assert rest.delete(path).status == 204
    assert Rest(secret).get(f"{house.url}/guests").status == 401
    assert rest.get(f"{house.url}/tokens?revoked=true").json["items"][0]["name"] == "ci"
    assert rest.post(f"{house.url}/tokens", {"name": "x", "permissions": ["fly"]}).status == 422
    assert rest.post(f"{house.url}/tokens", {"name": "x", "expires_at": "2001-01-01T00:00:00Z"}).status == 422
    assert rest.post(f"{house.url}/tokens", {"name": "x", "expires_at": "2099-01-01T00:00:00"}).status == 422


def test_the_log_says_who_did_what(house: House, rest: Rest) -> None:
    rest.post(f"{house.url}/networks", {"name": "lan"})

    entry = rest.get(f"{house.url}/audit-events?action=network.create").json["items"][0]

    assert (entry["actor"], entry["via"], entry["subject"]["name"]) == (house.owner.email, "token", "lan")
    assert rest.get(f"{house.url}/audit-events/{entry['id']}").json == entry
    assert rest.get(f"{house.url}/audit-events?q=lan&since=2000-01-01T00:00:00Z").json["items"] != []
    assert rest.get(f"{house.url}/audit-events?until=2000-01-01T00:00:00Z").json["items"] == []


def test_events_are_read_on_from_a_number(house: House, rest: Rest) -> None:
    start = rest.get(f"{house.url}/events").json["seq"]
    factories.network(house)

    more = rest.get(f"{house.url}/events?after={start}&limit=1").json
    rest_of_it = rest.get(f"{house.url}/events?cursor={more['next']}").json

    assert len(more["items"]) == 1
    assert more["items"][0]["seq"] > start
    assert rest_of_it["next"] is None
    assert {item["type"] for item in more["items"] + rest_of_it["items"]} == {"quota.changed", "network.changed"}
    assert rest.get(f"{house.url}/events?after=999999").json["reset"] is True
    assert rest.get(f"{house.url}/events?after={rest_of_it['seq']}").json == {
        "items": [],
        "next": None,
        "seq": rest_of_it["seq"],
        "reset": False,
    }


def test_usage_is_what_is_in_use(house: House, rest: Rest) -> None:
    factories.guest(house)

    used = rest.get(f"{house.url}/usage?meter=disk_gib").json["items"]

    assert [(interval["quantity"], interval["ended_at"]) for interval in used] == [(1, None)]
