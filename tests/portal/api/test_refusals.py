"""What the API says no to, and how."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import OperationalError

from portal.api import api
from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Answer, Rest
from vms.models import Guest, SshKey

pytestmark = pytest.mark.django_db
MEMBERS = {"type", "title", "status", "detail", "code", "errors", "request_id"}


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner()


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


def is_problem(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.json["code"]) == (status, code), answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert set(answer.json) >= MEMBERS
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("token", ["", "gh_00000000_wrong", "é"])
def test_no_token_and_a_wrong_one_are_refused_alike(house: House, token: str) -> None:
    answer = Rest(token).get(f"{house.url}/guests")

    is_problem(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_cookie_opens_nothing(house: House) -> None:
    rest = Rest()
    rest.client.force_login(house.owner)

    is_problem(rest.get("/me"), 401, "unauthenticated")


def test_paths_and_methods_that_are_not_there(rest: Rest) -> None:
    for path in ("/nothing", "/tenants/x/y/z", "/guests", "/"):
        is_problem(rest.get(path), 404, "not_found")
    answer = rest.ask("PUT", "/me", {})
    is_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET"


def test_head_is_get_without_a_body(rest: Rest) -> None:
    answer = rest.ask("HEAD", "/me")

    assert (answer.status, answer.raw.content) == (200, b"")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_a_body_that_is_not_json_is_refused(house: House, rest: Rest, kind: str) -> None:
    body = b'{"name": "k", "public_key": "x"}'

    answer = rest.ask("POST", f"{house.url}/ssh-keys", body, **{"Content-Type": kind})

    is_problem(answer, 415, "unsupported_media_type")


DEEP = b"[" * 100_000
BAD_BODIES = {
    "not json": b"{",
    "not utf-8": b'{"name": "\xff"}',
    "a name twice": b'{"name": "a", "name": "b", "public_key": "k"}',
    "NaN": b'{"name": NaN}',
    "very deep": DEEP,
    "deep": b'{"name": ' + b"[" * 40 + b"]" * 40 + b"}",
    "many": b"[" + b"1," * 30_000 + b"1]",
    "NUL": b'{"name": "a\\u0000", "public_key": "k"}',
    "half a pair": b'{"name": "\\ud800", "public_key": "k"}',
    "a long number": b'{"name": ' + b"9" * 10_000 + b"}",
    "no object": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_cannot_be_used_is_a_422(house: House, rest: Rest, body: bytes) -> None:
    is_problem(rest.ask("POST", f"{house.url}/ssh-keys", body), 422, "invalid")
    with tenant_scope(house.tenant):
        assert not SshKey.objects.exists()


def test_a_body_that_is_too_large_is_a_413(house: House, rest: Rest) -> None:
    answer = rest.ask("POST", f"{house.url}/ssh-keys", b'{"name": "' + b"x" * 1_100_000 + b'"}')

    is_problem(answer, 413, "too_large")


@pytest.mark.parametrize("query", ["q=%00", "limit=0", "limit=x", "nonsense=1", "cursor=" + "x" * 2000])
def test_a_query_that_cannot_be_used_is_a_422(house: House, rest: Rest, query: str) -> None:
    answer = rest.get(f"{house.url}/networks?{query}")

    is_problem(answer, 422, "invalid")
    assert answer.json["errors"][0]["pointer"] == "/" + query.split("=")[0]


@pytest.mark.parametrize(
    "moment", ["0261-02-03T14:27:58+19:29", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]
)
def test_a_moment_of_any_offset_is_taken_or_refused(house: House, moment: str) -> None:
    """PostgreSQL knows no offset beyond 16 hours: a filter with one was an error of ours."""
    _person, token = factories.operator()
    timed = [
        (path, parameter["name"])
        for path, item in api.document["paths"].items()
        for parameter in item.get("get", {}).get("parameters", [])
        if "date-time" in json.dumps(parameter["schema"])
    ]
    assert len(timed) >= 4

    guest = factories.guest(house)
    for path, name in timed:
        place = path.format(tenant=house.tenant.slug, guest_id=guest.pk)
        answer = Rest(token).get(f"{place}?{urlencode({name: moment})}")
        assert answer.status in (200, 422), (path, name, answer)


def test_an_unknown_field_is_named(house: House, rest: Rest) -> None:
    answer = rest.post(f"{house.url}/networks", {"name": "x", "tenant": "other", "bridge": "virbr0"})

    is_problem(answer, 422, "invalid")
    assert {(fault["pointer"], fault["code"]) for fault in answer.json["errors"]} == {
        ("/tenant", "extra_forbidden"),
        ("/bridge", "extra_forbidden"),
    }


BY_RESOURCE = {"/tenants/{tenant}/quota"}
"""Bodies whose fields are the names of resources, which are checked as such."""


def test_no_body_takes_a_column_of_its_row(settings: Any) -> None:
    """P-C1: mass assignment: every column of every model, and what a price or a right might be called, beside what fits."""
    settings.API_RATE_PER_MINUTE = 100_000
    from tests.architecture.permissions import TABLE
    from tests.architecture.world import body_for, build

    world = build()
    _person, token = factories.operator()
    columns = {field.attname for model in _models() for field in model._meta.concrete_fields}
    columns |= {"uuid", "price", "owner", "libvirt_name", "tenant", "host", "__proto__", "is_operator"}
    asked = 0

    for row in TABLE:
        operation = api.document["paths"][f"/api/v1{row.route}"][row.method.lower()]
        if "requestBody" not in operation:
            continue
        foreign = columns - _known(operation["requestBody"]["content"]["application/json"]["schema"])
        body = {**(body_for(world, row) or {}), **dict.fromkeys(foreign, "x")}
        answer = Rest(token).ask(row.method, world.path(row.route), body)
        assert answer.status == 422, (row, answer)
        refused = {fault["pointer"].strip("/") for fault in answer.json["errors"] if fault["code"] == "extra_forbidden"}
        assert refused == (foreign if row.route not in BY_RESOURCE else set()), row
        asked += 1
    assert asked > 20


def _known(schema: Any) -> set[str]:
    """The fields of a body's shape."""
    if "anyOf" in schema:
        return set().union(*(_known(each) for each in schema["anyOf"]))
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    return set(api.document["components"]["schemas"][name]["properties"]) if name else set()


def _models() -> Iterator[Any]:
    from django.apps import apps

    yield from (
        model
        for name in ("tenants", "vms", "operations", "billing")
        for model in apps.get_app_config(name).get_models()
    )


def test_a_mistake_of_ours_shows_nothing_of_itself(house: House, rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*args: object, **kwargs: object) -> None:
        raise RuntimeError("secret detail of the inside")

    monkeypatch.setattr("vms.api.guests.guest_rows", explode)
    answer = rest.get(f"{house.url}/guests")

    is_problem(answer, 500, "broken")
    assert "secret" not in json.dumps(answer.json)


def test_a_database_that_is_away_is_a_503(house: House, rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object, **kwargs: object) -> None:
        raise OperationalError("connection to 10.0.0.7 refused")

    monkeypatch.setattr("vms.api.guests.guest_rows", away)
    answer = rest.get(f"{house.url}/guests")

    is_problem(answer, 503, "unreachable")
    assert "10.0.0.7" not in json.dumps(answer.json)


def test_a_suspended_tenant_may_look_and_nothing_else(house: House, rest: Rest) -> None:
    guest = factories.guest(house)
    _person, token = factories.operator()

    assert Rest(token).post(f"{house.url}/suspend", {"reason": "unpaid"}).json["state"] == "suspended"

    assert rest.get(f"{house.url}/guests/{guest.pk}").status == 200
    is_problem(rest.post(f"{house.url}/guests/{guest.pk}/stop"), 403, "tenant_suspended")
    is_problem(rest.patch(f"{house.url}/guests/{guest.pk}", {"name": "x"}), 403, "tenant_suspended")
    assert Rest(token).post(f"{house.url}/unsuspend").json["state"] == "active"
    assert rest.patch(f"{house.url}/guests/{guest.pk}", {"name": "x"}).status == 200
    with tenant_scope(house.tenant):
        assert Guest.objects.get(pk=guest.pk).name == "x"
