"""Everybody who can be told apart, at every REST route, page, WebSocket and page or deed of the operators' site.

What is asked comes from the table and from what is really there, so that a new route is swept the day it has a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from asgiref.sync import sync_to_async
from django.contrib import admin
from django.db import transaction
from django.test import Client
from django.urls import reverse

from operations.consumers import NO_ACCESS, NOT_SIGNED_IN
from tenants.policy import Permission
from tests import factories
from tests.architecture import doors
from tests.architecture.alike import told
from tests.architecture.doors import Who
from tests.architecture.pages import PAGES, PageRow
from tests.architecture.permissions import TABLE, Row
from tests.architecture.personas import DEAD, LIVING, SIGNED_IN, Persona, persona, swept
from tests.architecture.test_pages import ask, browser, path
from tests.architecture.world import World, body_for, build
from tests.operations.test_live_events import cookie_of, socket
from tests.portal.admin.rows import one_of_each
from tests.portal.api.rest import Answer, Rest

FORM = "application/x-www-form-urlencoded"
REFUSED = (401, 403, 404, 405)


@pytest.fixture(autouse=True)
def _no_limits(settings: Any) -> None:
    settings.API_RATE_PER_MINUTE = settings.API_TENANT_RATE_PER_MINUTE = 1_000_000


# --- REST -----------------------------------------------------------------------------------------------------------
def wanted(row: Row, who: Persona) -> int | None:
    """The status with which the row refuses them; None where it lets them in."""
    if not who.belongs and row.is_in_tenant:
        return 404
    allowed = row.permission is None or {row.permission, *row.also} <= who.permissions
    return None if allowed and not (row.whole and who.name == "small token") else 403


def out_of_reach(row: Row, who: Persona) -> bool:
    """Is the thing that the row names one that this persona does not see, though they may look at others of its kind?"""
    reach = {
        "tagged": (
            "{guest_id}",
            "{volume_id}",
            "{backup_id}",
            "{backup_schedule_id}",
            "{snapshot_id}",
            "{disk_export_id}",
            "{port_id}",
            "{operation_id}",
        ),
    }.get(who.name, ())
    return any(name in row.route for name in reach)


def asked(world: World, row: Row, token: str) -> Answer:
    """One request, of which nothing stays."""
    with transaction.atomic():
        answer = Rest(token).ask(row.method, world.path(row.route), body_for(world, row))
        transaction.set_rollback(True)
    return answer


@pytest.mark.django_db
@pytest.mark.parametrize("name", swept(LIVING))
def test_every_route_lets_in_whom_its_row_says(name: str) -> None:
    """P-C2, P-C3, P-C4, P-C5, P-C9."""
    world = build()
    who = persona(name, world)
    own = world.token_of(who.person) if who.person else ""
    wrong = []

    for row in TABLE:
        about_tokens = "{token_id}" in row.route and who.belongs  # one sees one's own, and it renews no other
        token = own if about_tokens and own else who.token
        answer, refusal = asked(world, row, token), wanted(row, who)
        if refusal is None:
            fine = answer.status < 500 and (answer.status not in REFUSED or out_of_reach(row, who))
        else:
            fine = answer.status == refusal
        if not fine:
            wrong.append((f"{row.method} {row.route}", refusal, answer))

    assert wrong == []


@pytest.mark.django_db
def test_dead_tokens_open_nothing_and_are_told_apart_by_nothing() -> None:
    """P-C10: expired, revoked, of somebody who is switched off, or made up."""
    world = build()
    tokens = {name: persona(name, world).token for name in DEAD if name != "nobody"}

    for row in TABLE:
        heads = {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}
        answers = {
            n: told(Client(), row.method, f"/api/v1{world.path(row.route)}", **head) for n, head in heads.items()
        }
        assert {answer.status for answer in answers.values()} == {401}, row
        assert len(set(answers.values())) == 1, (row, answers)


# --- pages ----------------------------------------------------------------------------------------------------------
def page_wanted(row: PageRow, who: Persona) -> set[int] | None:
    """The statuses with which the page refuses them; None where it lets them in."""
    if row.permission is None:
        return None
    if not who.belongs:
        return {404}
    if who.name == "operator":  # a page of a tenant asks operators to say why they come
        return None if row.permission == Permission.OPERATE else {302} if row.method == "GET" else {403}
    return None if row.permission in who.permissions else {403}


@pytest.mark.django_db
@pytest.mark.parametrize("name", swept(SIGNED_IN))
def test_every_page_lets_in_whom_its_row_says(name: str) -> None:
    """P-C2, P-C4, P-C9."""
    world = build()
    who = persona(name, world)
    assert who.person is not None
    world.token_of(who.person)
    client = browser(who.person)
    wrong = []

    for row in PAGES:
        status, refusals = ask(client, row, path(row, world)).status_code, page_wanted(row, who)
        if refusals is not None:
            fine = status in refusals
        elif row.permission is None:
            fine = status < 500 and status != 403
        else:
            fine = status < 500 and (status not in REFUSED or _unseen(row, who))
        if not fine:
            wrong.append((f"{row.method} {row.name}", refusals, status))

    assert wrong == []


def _unseen(row: PageRow, who: Persona) -> bool:
    """Does the page name a thing that this persona does not see, or ask for more than its row for what is not their own?"""
    seen = {
        "tagged": (
            "guest", "console", "volume_detail", "volume_edit", "volume_attach", "volume_detach", "volume_extend",
            "volume_limits", "volume_delete", "backup_detail", "backup_verify", "backup_restore", "backup_put_back",
            "backup_delete", "disc_insert", "disc_eject", "disc_boot", "port_attach", "port_detach", "port_readdress",
            "port_limit",
            "backup_schedule_detail", "backup_schedule_edit", "backup_schedule_delete",
            "volume_snapshot", "snapshot_edit", "snapshot_revert", "snapshot_delete", "snapshot_copy",
            "snapshot_volume", "snapshot_image", "volume_export", "snapshot_export", "export_content", "export_delete",
            "operation_detail", "operation_partial", "operation_cancel",
        )
    }.get(who.name, ())  # fmt: skip
    return any(part in row.name for part in seen) or bool(row.also and not set(row.also) <= who.permissions)


@pytest.mark.django_db
def test_a_bearer_token_opens_no_page() -> None:
    world = build()
    _person, operators = factories.operator()

    for row in PAGES:
        for token in (world.house.token, operators):
            answer = ask(Client(), row, path(row, world), Authorization=f"Bearer {token}")
            assert answer.status_code == (404 if row.anybody else 302), row


# --- the operators' site --------------------------------------------------------------------------------------------
def site(rows: dict[type, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Every address of the site with the method and what is sent: pages of each model, its deeds, and its list's menu."""
    for pattern, who in doors.ROUTES.items():
        if who is Who.OPERATORS and "<" not in pattern:
            yield "GET", f"/{pattern}", {}
    for model, shown in admin.site._registry.items():
        base = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        pk = str(rows[model].pk)
        for page in doors.SITE_PAGES:
            address = base + page.replace("<path:object_id>", pk).replace("<slug:name>", "anything")
            yield "GET", address, {}
            yield "POST", address, {"post": "yes", "name": "mine"}
        for deed in shown.deeds.values():  # type: ignore[attr-defined]  # every one of them is a ServiceAdmin
            yield "POST", f"{base}add/" if deed.adds else f"{base}{pk}/do/{deed.name}/", {"reason": "Because."}
            if deed.many:
                yield "POST", base, {"action": deed.name, "_selected_action": pk, "confirmed": "yes", "count": "1"}


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["viewer", "member", "suspended", "stranger"])
def test_the_operators_site_is_not_there_for_anybody_else(name: str) -> None:
    """P-C2, P-C7."""
    who = persona(name, build())
    assert who.person is not None
    client = browser(who.person)

    answers = [
        (method, address, client.generic(method, address, urlencode(sent), content_type=FORM).status_code)
        for method, address, sent in site(one_of_each())
    ]

    assert [each for each in answers if each[2] != 404] == []


@pytest.mark.django_db
def test_what_operators_may_not_either_is_refused_to_them() -> None:
    client = browser(factories.user(operator=True))

    for model, row in one_of_each().items():
        base = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for page, who in doors.SITE_PAGES.items():
            address = base + page.replace("<path:object_id>", str(row.pk)).replace("<slug:name>", "anything")
            if who is Who.NOBODY:
                assert client.get(address).status_code == client.post(address, {"post": "yes"}).status_code == 403
        assert client.post(f"{base}{row.pk}/change/", {"name": "mine"}).status_code == 403, model


# --- WebSockets -----------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("line", doors.LINES, ids=lambda line: str(line.consumer))
async def test_every_websocket_lets_in_whom_its_row_says(line: doors.Line) -> None:
    """P-C5, P-C9."""
    assert line.address == "ws/t/<slug:tenant>/events", "say here how the new one is opened"

    for name in (*SIGNED_IN, "nobody"):
        world = await sync_to_async(build)()
        who = await sync_to_async(persona)(name, world)
        cookie = await sync_to_async(cookie_of)(who.person) if who.person else b""
        live = socket(world.house.tenant.slug, cookie)
        assert await live.connect(), "browsers see a code only after the upgrade"
        if line.permission in who.permissions and name != "operator":  # who comes as an operator says why, on a page
            assert (await live.hear())["type"] == "hello", name
            await live.leave()
        else:
            refusal = NO_ACCESS if who.person else NOT_SIGNED_IN
            assert await live.closed(timeout_s=60) == refusal, name
