"""Another tenant's things are not there: the same answer, byte for byte, as for what never was."""

from __future__ import annotations

import re
from typing import Any

import pytest

from portal.core.ids import uuid7
from tests.architecture.permissions import TABLE, Row
from tests.architecture.world import World, body_for, build
from tests.portal.api.rest import Answer, Rest

pytestmark = pytest.mark.django_db
SHARED = {"image_id"}
"""Public things, which every tenant may look at."""
NAMING = [
    row
    for row in TABLE
    if row.route.startswith("/tenants/{tenant}/")
    and (named := set(re.findall(r"{(\w+_id)}", row.route)))
    and not named & SHARED
]
TENANT_ROUTES = [row for row in TABLE if row.route.startswith("/tenants/{tenant}")]


@pytest.fixture
def ours() -> World:
    return build()


@pytest.fixture
def theirs() -> World:
    return build()


def said(answer: Answer) -> tuple[int, Any, set[str]]:
    """All of an answer but the number of the request."""
    return answer.status, {**answer.json, "request_id": ""}, set(answer.headers)


def test_ids_of_others_are_not_there(ours: World, theirs: World) -> None:
    rest = Rest(ours.house.token)

    for row in NAMING:
        body = body_for(ours, row)
        foreign = rest.ask(row.method, theirs.path(row.route, {"tenant": ours.house.tenant.slug}), body)
        absent = rest.ask(row.method, ours.path(row.route, dict.fromkeys(ours.ids, str(uuid7()))), body)
        crooked = rest.ask(row.method, ours.path(row.route, dict.fromkeys(ours.ids, "x")), body)
        assert foreign.status == 404, row
        assert said(foreign) == said(absent) == said(crooked), row


def test_tenants_of_others_are_not_there(ours: World, theirs: World) -> None:
    rest = Rest(ours.house.token)

    for row in TENANT_ROUTES:
        body = body_for(ours, row)
        foreign = rest.ask(row.method, theirs.path(row.route), body)
        absent = rest.ask(row.method, ours.path(row.route, {"tenant": "absent"}), body)
        crooked = rest.ask(row.method, ours.path(row.route, {"tenant": "A%00b"}), body)
        assert foreign.status == 404, row
        assert said(foreign) == said(absent) == said(crooked), row


def test_things_of_others_cannot_be_named_in_a_body(ours: World, theirs: World) -> None:
    rest = Rest(ours.house.token)
    row = Row("POST", "/tenants/{tenant}/guests", None)

    for field, name in (("networks", "network_id"), ("ssh_keys", "key_id")):
        foreign = rest.post(ours.path(row.route), {**body_for(ours, row), field: [theirs.ids[name]]})
        absent = rest.post(ours.path(row.route), {**body_for(ours, row), field: [str(uuid7())]})
        assert foreign.status == 422
        assert said(foreign) == said(absent)


def test_lists_hold_nothing_of_others(ours: World, theirs: World) -> None:
    rest = Rest(ours.house.token)
    foreign = {pk for name, pk in theirs.ids.items() if name not in ("image_id", "flavor_id", "host_id")}

    for row in TENANT_ROUTES:
        if row.method == "GET" and not row.route.endswith("}"):
            answer = rest.get(ours.path(row.route))
            assert answer.status == 200, row
            assert not [pk for pk in foreign if pk in answer.raw.content.decode()], row


def test_a_token_of_one_tenant_opens_no_other(ours: World, theirs: World) -> None:
    made = Rest(ours.house.token).post(f"{ours.house.url}/tokens", {"name": "narrow"})
    rest = Rest(made.json["token"])

    assert rest.get(f"{ours.house.url}/guests").status == 200
    assert rest.get(f"{theirs.house.url}/guests").status == 404
    assert [tenant["slug"] for tenant in rest.get("/me").json["tenants"]] == [ours.house.tenant.slug]
