"""The WebSocket of live events: opened by our own pages only, complete after a gap, silent about others, closed with access."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import Client

from operations import publisher
from operations.consumers import NO_ACCESS, NOT_SIGNED_IN, REPLAY_MAX
from portal.asgi import application
from portal.core.clock import now
from portal.core.ids import uuid7
from tenants.access import session_mark
from tenants.journal.events import event_append
from tenants.journal.models import Event
from tenants.models import Member, Role, Tenant, User
from tenants.policy import Permission
from tenants.reactions import announce
from tenants.scoping import tenant_scope
from tenants.services.ending import tenants_purge
from tenants.services.members import member_remove, member_set_role
from tenants.services.roles import role_named
from tenants.services.tenants import tenant_close, tenant_suspend
from tests import factories
from tests.operations.sockets import Socket
from tests.portal.api.rest import Rest

pytestmark = pytest.mark.django_db(transaction=True)
CLOSED_WITHIN_S = 2.0


def cookie_of(person: User) -> bytes:
    """A signed-in browser's cookie."""
    client = Client()
    client.force_login(person)
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}".encode()


def say(house: factories.House, count: int = 1) -> list[int]:
    """Commit events of the tenant, one transaction each; their numbers."""
    numbers = []
    with tenant_scope(house.tenant):
        for _ in range(count):
            with transaction.atomic():
                numbers.append(event_append(house.tenant, "guest.changed", "guest", uuid7()).seq)
    return numbers


def socket(slug: str, cookie: bytes = b"", *, origins: list[bytes] | None = None, query: str = "") -> Socket:
    headers = [(b"origin", origin) for origin in (origins if origins is not None else [settings.PUBLIC_URL.encode()])]
    if cookie:
        headers.append((b"cookie", cookie))
    return Socket(application, f"/ws/t/{slug}/events{query}", headers)


@asynccontextmanager
async def hearing(house: factories.House, query: str = "", *, person: User | None = None) -> AsyncIterator[Socket]:
    """An open socket of the owner's page, past its ``hello``."""
    cookie = await sync_to_async(cookie_of)(person or house.owner)
    live = socket(house.tenant.slug, cookie, query=query)
    assert await live.connect()
    live.hello = await live.hear()
    assert live.hello["type"] == "hello"
    try:
        yield live
    finally:
        await live.leave()


make = sync_to_async(factories.tenant_with_owner)


async def test_what_is_committed_is_heard_in_order_with_its_number() -> None:
    house = await make()

    async with hearing(house) as live:
        numbers = await sync_to_async(say)(house, 3)
        heard = [await live.hear() for _ in numbers]

    assert live.hello["seq"] == numbers[0] - 1
    assert [event["seq"] for event in heard] == numbers
    assert set(heard[0]) == {"seq", "type", "resource", "at"}


async def test_what_was_missed_is_said_again_and_nothing_else() -> None:
    house = await make()
    numbers = await sync_to_async(say)(house, 5)

    async with hearing(house, f"?after={numbers[1]}") as live:
        heard = [await live.hear() for _ in range(3)]
        assert [event["seq"] for event in heard] == numbers[2:]
        assert await live.receive_nothing(timeout=0.2)


async def test_what_got_lost_on_its_way_is_told_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open page never heard of what was pushed while Redis was slow, until it was opened anew."""
    house = await make()

    async with hearing(house) as live:
        with monkeypatch.context() as silent:
            silent.setattr(publisher, "send", lambda *_: None)
            lost = await sync_to_async(say)(house, 2)
        (number,) = await sync_to_async(say)(house)

        assert [(await live.hear())["seq"] for _ in range(3)] == [*lost, number]
        assert await live.receive_nothing(timeout=0.2)


async def test_what_was_overtaken_is_told_once_and_in_order() -> None:
    house = await make()
    held: list[tuple[str, dict[str, Any]]] = []

    async with hearing(house) as live:
        with pytest.MonkeyPatch.context() as late:
            late.setattr(publisher, "send", lambda group, message: held.append((group, message)))
            first, second = await sync_to_async(say)(house, 2)
        for group, message in reversed(held):
            await sync_to_async(publisher.send)(group, message)

        assert [(await live.hear())["seq"] for _ in range(2)] == [first, second]
        assert await live.receive_nothing(timeout=0.2)


async def test_what_is_no_longer_kept_or_too_much_is_a_reset() -> None:
    house = await make()
    numbers = await sync_to_async(say)(house, 3)

    def forget() -> None:
        with tenant_scope(house.tenant):
            Event.objects.filter(seq__lte=numbers[1]).delete()

    await sync_to_async(forget)()
    async with hearing(house, "?after=1") as live:
        assert await live.hear() == {"type": "reset", "seq": numbers[-1]}
    await sync_to_async(say)(house, REPLAY_MAX + 1)
    async with hearing(house, f"?after={numbers[-1]}") as live:
        assert (await live.hear())["type"] == "reset"


@pytest.mark.parametrize("query", ["?after=", "?after=x", "?after=-1", "?after=99999999999999999999", "?after=1e9"])
async def test_a_number_that_is_none_is_like_none_given(query: str) -> None:
    house = await make()

    async with hearing(house, query) as live:
        assert await live.receive_nothing(timeout=0.2)


async def test_a_number_from_the_future_is_a_reset() -> None:
    """A database restored from a copy counts lower than the page has seen."""
    house = await make()

    async with hearing(house, "?after=100000") as live:
        assert (await live.hear())["type"] == "reset"


OURS = settings.PUBLIC_URL.encode()
FOREIGN = {
    "absent": [],
    "null": [b"null"],
    "foreign": [b"https://evil.example"],
    "a suffix": [OURS + b".evil.example"],
    "another port": [OURS.rsplit(b":", 1)[0] + b":444"],
    "another scheme": [OURS.replace(b"http", b"https", 1)],
    "capitals": [OURS.upper()],
    "a trailing dot": [OURS.rsplit(b":", 1)[0] + b".:" + OURS.rsplit(b":", 1)[1]],
    "a slash": [OURS + b"/"],
    "userinfo": [OURS.replace(b"://", b"://x@")],
    "two": [OURS, OURS],
    "ours and theirs": [OURS, b"https://evil.example"],
}


@pytest.mark.parametrize("origins", FOREIGN.values(), ids=FOREIGN.keys())
async def test_a_page_of_another_origin_is_refused_before_the_upgrade(origins: list[bytes]) -> None:
    """P-A1."""
    house = await make()
    live = socket(house.tenant.slug, await sync_to_async(cookie_of)(house.owner), origins=origins)

    assert not await live.connect()


async def refused(slug: str, cookie: bytes) -> int:
    """The code with which a socket is closed at once."""
    live = socket(slug, cookie)
    assert await live.connect(), "browsers see a code only after the upgrade"
    return await live.closed(timeout_s=60)


async def test_nobody_in_particular_and_strangers_are_told_apart_from_neither_tenant() -> None:
    house, other = await make(), await make()
    stranger = await sync_to_async(cookie_of)(other.owner)

    assert await refused(house.tenant.slug, b"") == NOT_SIGNED_IN
    assert await refused(house.tenant.slug, stranger) == NO_ACCESS
    assert await refused("no-such-tenant", stranger) == NO_ACCESS


async def test_a_page_hears_nothing_of_another_tenant() -> None:
    """P-C5, I10."""
    house, other = await make(), await make()

    async with hearing(house) as live:
        await sync_to_async(say)(other, 5)
        assert await live.receive_nothing(timeout=0.5)
        (number,) = await sync_to_async(say)(house)
        assert (await live.hear())["seq"] == number


async def test_who_sees_machines_of_a_tag_hears_no_id_of_another() -> None:
    """Neither pushed, nor said again, nor by REST; the numbers have no gap all the same."""
    house = await make()
    looks = {Permission.GUEST_VIEW, Permission.EVENT_VIEW}
    person, token = await sync_to_async(factories.member_with)(house.tenant, looks, tags=["qa"])
    mine = await sync_to_async(factories.guest)(house, tags=["qa"])
    other = await sync_to_async(factories.guest)(house, tags=["prod"])

    def happens() -> None:
        with tenant_scope(house.tenant):
            for kind, pk in (("guest", mine.pk), ("guest", other.pk), ("operation", uuid7()), ("network", uuid7())):
                with transaction.atomic():
                    event_append(house.tenant, f"{kind}.changed", kind, pk)

    async with hearing(house, person=person) as live:
        since = live.hello["seq"]
        await sync_to_async(happens)()
        pushed = [await live.hear() for _ in range(4)]
    async with hearing(house, f"?after={since}", person=person) as live:
        again = [await live.hear() for _ in range(4)]
    read = await sync_to_async(Rest(token).get)(f"{house.url}/events?after={since}")

    hidden = {"type": "other", "id": ""}
    for events in (pushed, again, read.json["items"]):
        assert [event["seq"] for event in events] == list(range(since + 1, since + 5))
        assert [event["resource"] for event in events[:3]] == [{"type": "guest", "id": str(mine.pk)}, hidden, hidden]
        assert [event["type"] for event in events[1:]] == ["other.changed", "other.changed", "network.changed"]


async def test_what_a_page_says_changes_nothing() -> None:
    house = await make()

    async with hearing(house) as live:
        for text in ('{"type": "event.push"}', "not json", "[" * 1000):
            await live.say(text)
        await sync_to_async(say)(house)
        assert (await live.hear())["type"] == "guest.changed"


# --- access ends ----------------------------------------------------------------------------------------------------
def signed_out(house: factories.House, person: User) -> None:
    announce(
        "access.revoked", user=person, tenant=None, session=session_mark(_session_key(person)), reason="signed out"
    )


def _session_key(person: User) -> str:
    return next(s.session_key for s in Session.objects.all() if s.get_decoded().get("_auth_user_id") == str(person.pk))


def membership_ended(house: factories.House, person: User) -> None:
    with tenant_scope(house.tenant):
        member_remove(Member.objects.get(user=person), actor=house.actor)


def role_without_sight(house: factories.House, person: User) -> None:
    with tenant_scope(house.tenant):
        blind = Role.objects.create(tenant=house.tenant, name="blind", permissions=["tenant.view"])
        member_set_role(Member.objects.get(user=person), role=blind, actor=house.actor)


def switched_off(house: factories.House, person: User) -> None:
    person.is_active = False
    person.save()
    with transaction.atomic():
        announce("access.revoked", user=person, tenant=None, session="", reason="switched off")


def password_changed(house: factories.House, person: User) -> None:
    person.set_password("another one entirely")
    person.save()
    with transaction.atomic():
        announce("access.revoked", user=person, tenant=None, session="", reason="password changed")


@pytest.mark.parametrize(
    "end", [signed_out, membership_ended, role_without_sight, switched_off, password_changed],
    ids=lambda end: str(end.__name__),
)  # fmt: skip
async def test_ended_access_closes_the_page_within_two_seconds_and_no_others(
    end: Callable[[factories.House, User], None],
) -> None:
    """P-A7, P-C9."""
    house = await make()
    person = await sync_to_async(factories.user)()
    await sync_to_async(factories.join)(house.tenant, person, role="viewer")

    async with hearing(house) as owners, hearing(house, person=person) as theirs:
        await sync_to_async(end)(house, person)
        async with asyncio.timeout(CLOSED_WITHIN_S):
            code = await theirs.closed(timeout_s=CLOSED_WITHIN_S)
        assert code in (NO_ACCESS, NOT_SIGNED_IN)
        await sync_to_async(say)(house)
        while (await owners.hear())["type"] != "guest.changed":
            pass


def tenant_ended(house: factories.House) -> None:
    """The last step of a closing tenant: it is closed, everything it had is gone already."""
    tenant_close(house.tenant, confirm=house.tenant.slug, actor=factories.desk())
    Tenant.objects.filter(pk=house.tenant.pk).update(purge_after=now())
    assert tenants_purge() == {house.tenant.slug: 0}


async def test_a_closed_tenants_pages_close_within_two_seconds() -> None:
    """P-C9."""
    house = await make()

    async with hearing(house) as live:
        await sync_to_async(tenant_ended)(house)
        assert await live.closed(timeout_s=CLOSED_WITHIN_S) == NO_ACCESS


async def test_access_that_ended_unheard_hears_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """P-C10: while Redis was away nobody was told; back again, no event reaches whoever lost their access meanwhile."""
    house = await make()
    person = await sync_to_async(factories.user)()
    await sync_to_async(factories.join)(house.tenant, person, role="viewer")
    monkeypatch.setattr("operations.consumers.LOOK_AGAIN_S", 0.0)

    async with hearing(house) as owners, hearing(house, person=person) as theirs:
        await sync_to_async(Member._base_manager.filter(user=person).delete)()
        await sync_to_async(say)(house)
        assert (await theirs.receive_output(CLOSED_WITHIN_S))["type"] == "websocket.close"
        assert (await owners.hear())["type"] == "guest.changed"


async def test_a_role_that_still_may_look_keeps_its_page() -> None:
    house = await make()
    person = await sync_to_async(factories.user)()
    await sync_to_async(factories.join)(house.tenant, person, role="member")

    def demote() -> None:
        with tenant_scope(house.tenant):
            member_set_role(Member.objects.get(user=person), role=role_named("viewer"), actor=house.actor)

    async with hearing(house, person=person) as live:
        await sync_to_async(demote)()
        assert (await live.hear())["type"] == "member.changed"
        assert await live.receive_nothing(timeout=0.3)


async def test_pages_of_a_suspended_tenant_may_go_on_looking() -> None:
    house = await make()

    async with hearing(house) as live:
        await sync_to_async(tenant_suspend)(house.tenant, reason="unpaid", actor=factories.desk())
        assert (await live.hear())["type"] == "tenant.changed"
