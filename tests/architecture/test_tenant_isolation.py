"""Another tenant's things are not there: the same answer, byte for byte, as for what never was."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from portal.core.ids import uuid7
from tenants.models import Tenant
from tenants.policy import CLOSING_TENANT, SUSPENDED_TENANT
from tenants.scoping import tenant_scope
from tenants.services.tenants import tenant_close, tenant_suspend
from tests import factories
from tests.architecture.alike import Told, told
from tests.architecture.pages import PAGES
from tests.architecture.permissions import TABLE, Row
from tests.architecture.test_everything_is_written_down import LOGS, NOT_THE_TENANTS, tables_written
from tests.architecture.test_pages import browser, path
from tests.architecture.world import World, body_for, build
from tests.portal.api.rest import Rest
from tests.support.reading import words_in

pytestmark = pytest.mark.django_db
OWN = {"tenants:token_revoke", "tenants:member_remove"}
"""What one may always do: give up what is one's own."""
NAMING = [row for row in TABLE if row.route.startswith("/tenants/{tenant}/") and re.search(r"{\w+_id}", row.route)]
TENANT_ROUTES = [row for row in TABLE if "{tenant}" in row.route]


@pytest.fixture
def ours() -> World:
    return build()


@pytest.fixture
def theirs() -> World:
    return build()


@pytest.fixture(autouse=True)
def _no_limits(settings: Any) -> None:
    """The sweep asks more often in a minute than anybody may."""
    settings.API_RATE_PER_MINUTE = settings.API_TENANT_RATE_PER_MINUTE = 1_000_000


def asked(token: str, row: Row, address: str, body: Any) -> Told:
    """What the answer to one request tells."""
    sent = b"" if body is None else json.dumps(body).encode()
    return told(Client(), row.method, f"/api/v1{address}", sent, Authorization=f"Bearer {token}")


def test_ids_of_others_are_not_there(ours: World, theirs: World) -> None:
    """P-C4: not by the answer, and not by the work behind it."""
    token = ours.house.token
    Rest(token).get("/me")  # its first use is written down

    for row in NAMING:
        body = body_for(ours, row)
        foreign = asked(token, row, theirs.path(row.route, {"tenant": ours.house.tenant.slug}), body)
        absent = asked(token, row, ours.path(row.route, dict.fromkeys(ours.ids, str(uuid7()))), body)
        crooked = asked(token, row, ours.path(row.route, dict.fromkeys(ours.ids, "x")), body)
        assert foreign.status == 404, row
        assert foreign == absent, row
        assert foreign[:3] == crooked[:3], row


def test_tenants_of_others_are_not_there(ours: World, theirs: World) -> None:
    """Whether a project of that name exists was told by the queries that its stranger's token took."""
    token = ours.house.token
    Rest(token).get("/me")

    for row in TENANT_ROUTES:
        body = body_for(ours, row)
        foreign = asked(token, row, theirs.path(row.route), body)
        absent = asked(token, row, ours.path(row.route, {"tenant": "absent"}), body)
        crooked = asked(token, row, ours.path(row.route, {"tenant": "A%00b"}), body)
        assert foreign.status == 404, row
        assert foreign == absent, row
        assert foreign[:3] == crooked[:3], row


def test_things_of_others_cannot_be_named_in_a_body(ours: World, theirs: World) -> None:
    token = ours.house.token
    Rest(token).get("/me")
    row = Row("POST", "/tenants/{tenant}/guests", None)

    for field, there, absent_id in (
        ("networks", [theirs.ids["network_id"]], [str(uuid7())]),
        ("security_groups", [theirs.ids["group_id"]], [str(uuid7())]),
        ("ssh_keys", [theirs.ids["key_id"]], [str(uuid7())]),
        ("placement_group", theirs.ids["placement_group_id"], str(uuid7())),
        ("image", theirs.ids["own_image_id"], str(uuid7())),
    ):
        foreign = asked(token, row, ours.path(row.route), {**body_for(ours, row), field: there})
        absent = asked(token, row, ours.path(row.route), {**body_for(ours, row), field: absent_id})
        assert foreign.status == 422, field
        assert foreign == absent, field


def test_lists_hold_nothing_of_others(ours: World, theirs: World) -> None:
    rest = Rest(ours.house.token)
    foreign = {pk for name, pk in theirs.ids.items() if name not in ("image_id", "flavor_id", "class_id", "host_id")}

    for row in TENANT_ROUTES:
        if row.method == "GET" and not row.route.endswith("}"):
            answer = rest.get(ours.path(row.route))
            assert answer.status == 200, row
            shown = words_in(answer.body)
            assert not [pk for pk in foreign if pk in shown], row


def test_a_token_of_one_tenant_opens_no_other(ours: World, theirs: World) -> None:
    made = Rest(ours.house.token).post(f"{ours.house.url}/tokens", {"name": "narrow"})
    rest = Rest(made.json["token"])

    assert rest.get(f"{ours.house.url}/guests").status == 200
    assert rest.get(f"{theirs.house.url}/guests").status == 404
    assert [tenant["slug"] for tenant in rest.get("/me").json["tenants"]] == [ours.house.tenant.slug]


@pytest.mark.parametrize("standing", ["suspended", "closing", "closed", "below a suspended one"])
def test_a_tenant_that_is_not_active_changes_nothing(ours: World, standing: str) -> None:
    """P-C9: over every route, as its owner, as a service token, and as somebody's token of it alone."""
    tenant = ours.house.tenant
    with tenant_scope(tenant):
        made = Rest(ours.house.token).post(f"{ours.house.url}/tokens", {"name": "narrow"})
    tokens = [ours.house.token, made.json["token"]]
    stand(tenant, standing)
    left = {"closing": CLOSING_TENANT, "closed": frozenset()}.get(standing, SUSPENDED_TENANT)

    for token in tokens:
        rest = Rest(token)
        for row in TENANT_ROUTES:
            with transaction.atomic():
                answer = rest.ask(row.method, ours.path(row.route), body_for(ours, row))
                transaction.set_rollback(True)
            if standing == "closed":
                assert answer.status == 404, (row, answer)
            elif row.permission in left and row.method == "GET":
                assert answer.status == 200, (row, answer)
            elif row.permission not in left:
                assert answer.status == 403, (row, answer)
            else:
                assert row.method == "GET" or answer.status in (200, 204, 403, 409, 422), (row, answer)


def stand(tenant: Tenant, standing: str) -> None:
    """Bring a tenant there, by what operators do."""
    if standing == "below a suspended one":
        tenant.parent = factories.tenant_with_owner().tenant
        tenant.save(update_fields=["parent"])
        tenant_suspend(tenant.parent, reason="", actor=factories.desk())
    elif standing == "suspended":
        tenant_suspend(tenant, reason="", actor=factories.desk())
    else:
        tenant_close(tenant, confirm=tenant.slug, actor=factories.desk())
    if standing == "closed":
        Tenant.objects.filter(pk=tenant.pk).update(state="closed", purge_after=None)


def test_pages_of_a_tenant_that_is_not_active_change_nothing(ours: World) -> None:
    client = browser(ours.house.owner)
    tenant_suspend(ours.house.tenant, reason="Unpaid.", actor=factories.desk())

    for row in PAGES:
        if row.permission is None or row.name.startswith("tenants:notice"):
            continue
        written, answer = tables_written(lambda row=row: client.generic(row.method, path(row, ours)))
        if row.permission not in SUSPENDED_TENANT:
            assert answer.status_code == 403, row
        if row.method == "GET" and not row.also and row.permission in SUSPENDED_TENANT:
            menu = row.name in ("vms:guest_menu", "tenants:switch")  # not asked for as a part, each leads to a page
            assert answer.status_code == (302 if menu else 200), row
        assert row.name in OWN or written <= {*NOT_THE_TENANTS, *LOGS, "tenants_journal"}, (row, written)
