"""What is open in a browser ends with the sign-in, or the factor, that it stood on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import Client

from operations.consumers import NO_ACCESS, NOT_SIGNED_IN
from portal.asgi import application
from tenants.policy import BUILT_IN_ROLES
from tenants.scoping import tenant_scope
from tenants.services.people import password_set
from tenants.services.second_factor import tenant_require_second_factor
from tests import factories
from tests.operations.sockets import Socket
from tests.tenants.accounts.people import SECOND, code, signs_in, with_app

pytestmark = pytest.mark.django_db(transaction=True)
CLOSED_WITHIN_S = 2.0


def socket(house: factories.House, client: Client) -> Socket:
    """The browser's line to the tenant's events."""
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    headers = [(b"origin", settings.PUBLIC_URL.encode()), (b"cookie", cookie.encode())]
    return Socket(application, f"/ws/t/{house.tenant.slug}/events", headers)


async def ends(line: Socket, act: Callable[[], object]) -> int:
    """Connect, do ``act``, and see the line end in time; the code it ends with."""
    assert await line.connect()
    assert (await line.hear())["type"] == "hello"
    await sync_to_async(act)()
    return await line.closed(timeout_s=CLOSED_WITHIN_S)


async def test_signing_out_everywhere_else_ends_live_pages_there() -> None:
    def prepare() -> tuple[Client, Socket, Socket]:
        house = factories.tenant_with_owner()
        here, there = Client(), Client()
        for client in (there, here):
            signs_in(client, house.owner)
        return here, socket(house, there), socket(house, here)

    here, line, own = await sync_to_async(prepare)()
    assert await own.connect()

    assert await ends(line, lambda: here.post("/account/sessions/")) == NOT_SIGNED_IN
    await own.leave()
    assert (await sync_to_async(here.get)("/account/sessions/")).status_code == 200


async def test_asking_for_a_second_factor_ends_live_pages_of_those_without() -> None:
    def prepare() -> tuple[factories.House, Socket, Socket]:
        house = factories.tenant_with_owner()
        bare, _token = factories.member_with(house.tenant, BUILT_IN_ROLES["member"])
        secret = with_app(house.owner)
        strong, weak = Client(), Client()
        signs_in(strong, house.owner)
        strong.post(SECOND, {"code": code(secret)})
        signs_in(weak, bare)
        return house, socket(house, strong), socket(house, weak)

    house, strong, weak = await sync_to_async(prepare)()

    def ask() -> None:
        with tenant_scope(house.tenant):
            tenant_require_second_factor(house.tenant, required=True, actor=house.actor)

    assert await strong.connect()
    assert await ends(weak, ask) == NO_ACCESS
    assert (await strong.hear())["type"] == "hello"
    assert (await strong.hear())["type"] == "tenant.changed"
    await strong.leave()


async def test_who_lacks_the_factor_gets_no_live_page() -> None:
    def prepare() -> Socket:
        house = factories.tenant_with_owner()
        client = Client()
        signs_in(client, house.owner)
        house.tenant.require_second_factor = True
        house.tenant.save()
        return socket(house, client)

    line = await sync_to_async(prepare)()
    assert await line.connect()
    assert await line.closed(timeout_s=CLOSED_WITHIN_S) == NO_ACCESS


async def test_an_operator_s_reset_of_a_password_ends_live_pages() -> None:
    def prepare() -> tuple[factories.House, Socket]:
        house = factories.tenant_with_owner()
        client = Client()
        signs_in(client, house.owner)
        return house, socket(house, client)

    house, line = await sync_to_async(prepare)()

    assert await ends(line, lambda: password_set(house.owner, password="n e w", actor=factories.desk())) == NO_ACCESS
