"""One WebSocket a browser tab: the tenant's events, with what was missed, until access ends."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.utils.crypto import constant_time_compare

from operations.events import ACCESS_GROUP, tenant_group
from tenants.access import NOWHERE, actor_for_user, session_mark, tenant_by_slug
from tenants.actors import Actor
from tenants.journal.events import event_message, events_shown
from tenants.journal.models import Event, Journal
from tenants.models import Tenant, User
from tenants.policy import Permission
from tenants.scoping import tenant_scope

REPLAY_MAX = 500
LOOK_AGAIN_S = 5.0
NOT_SIGNED_IN, NO_ACCESS = 4401, 4403


class EventConsumer(AsyncJsonWebsocketConsumer):
    """``/ws/t/{tenant}/events?after=SEQ``.

    Says ``{"type": "hello", "seq": N}`` first, then what was missed since SEQ (or ``{"type": "reset"}`` where that is too
    long ago), then each event as it is committed. Joins the group before it reads, so that nothing falls between.
    A tenant's numbers have no gaps, so what got lost on its way here, or was overtaken, shows, and is read from the journal.
    """

    tenant: Tenant | None = None
    actor: Actor | None = None
    """What the reader may, as it was when access was last looked at."""
    looked_at: float = 0.0
    """When access was last looked at, by the monotonic clock."""
    told = 0
    """The newest number this page knows of."""

    async def connect(self) -> None:
        user = self.scope.get("user")
        if not isinstance(user, User) or not user.is_authenticated:
            await self._refuse(NOT_SIGNED_IN)
            return
        self.tenant = await self._tenant()
        self.looked_at = time.monotonic()
        if self.tenant is None:
            await self._refuse(NO_ACCESS)
            return
        await self.channel_layer.group_add(ACCESS_GROUP, self.channel_name)
        await self.channel_layer.group_add(tenant_group(self.tenant), self.channel_name)
        await self.accept()
        seq, missed = await self._missed(self._after())
        await self.send_json({"type": "hello", "seq": seq})
        await self._tell(seq, missed)

    async def _tell(self, seq: int, missed: list[dict[str, Any]] | None) -> None:
        if missed is None:
            await self.send_json({"type": "reset", "seq": seq})
        for message in missed or []:
            await self.send_json(message)
        self.told = max(seq, missed[-1]["seq"]) if missed else seq

    async def _refuse(self, code: int) -> None:
        await self.accept()
        await self.close(code=code)

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(ACCESS_GROUP, self.channel_name)
        if self.tenant is not None:
            await self.channel_layer.group_discard(tenant_group(self.tenant), self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Browsers have nothing to say here; a ping keeps proxies from closing the line."""

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        return None

    async def event_push(self, message: dict[str, Any]) -> None:
        """An event of our tenant: each is told once, in order, and with it what should have come before.

        While Redis is away, nothing is heard: neither events nor that access ended. So access that nobody spoke of for a while is
        looked at anew first: what is said afterwards must not go to whoever lost it meanwhile.
        """
        if time.monotonic() - self.looked_at > LOOK_AGAIN_S:
            if await self._tenant() is None or not await self._session_alive():
                await self.close(code=NO_ACCESS)
                return
            self.looked_at = time.monotonic()
        event = message["event"]
        if event["seq"] == self.told + 1:
            await self._tell(event["seq"], await self._shown([event]))
        elif event["seq"] > self.told:
            await self._tell(*await self._missed(self.told))

    async def access_check(self, message: dict[str, Any]) -> None:
        """Somebody's access ended: if it may be ours, look again and close where it is so."""
        user = self.scope["user"]
        tenant = self.tenant
        if tenant is None:
            return
        mine = {
            "user": str(user.pk),
            "tenant": str(tenant.pk),
            "session": session_mark(self.scope["session"].session_key),
        }
        if any(message[what] and message[what] != mine[what] for what in mine):
            return
        if message["session"] or await self._tenant() is None or not await self._session_alive():
            await self.close(code=NOT_SIGNED_IN if message["session"] else NO_ACCESS)

    @database_sync_to_async
    def _session_alive(self) -> bool:
        """Does the session still stand for this user (not signed out, password not changed)?"""
        from django.contrib.auth import HASH_SESSION_KEY
        from django.contrib.sessions.backends.db import SessionStore

        user = User.objects.filter(pk=self.scope["user"].pk, is_active=True).first()
        stored = SessionStore(session_key=self.scope["session"].session_key).load()
        held = str(stored.get(HASH_SESSION_KEY, ""))
        return user is not None and constant_time_compare(held, user.get_session_auth_hash())

    @database_sync_to_async
    def _tenant(self) -> Tenant | None:
        user = User.objects.filter(pk=self.scope["user"].pk).first()
        tenant = tenant_by_slug(self.scope["url_route"]["kwargs"]["tenant"])
        mark = session_mark(self.scope["session"].session_key)
        actor = actor_for_user(user, tenant or NOWHERE, via="websocket", session=mark)
        if tenant is None or actor is None or not actor.may(Permission.EVENT_VIEW):
            return None
        self.actor = actor
        return tenant

    async def _shown(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As the reader may see them; nobody waits for the database who sees every machine."""
        if self.actor is None or not self.actor.narrowed:
            return events
        shown: list[dict[str, Any]] = await self._looked_up(events)
        return shown

    @database_sync_to_async
    def _looked_up(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        assert self.tenant is not None
        assert self.actor is not None
        with tenant_scope(self.tenant):
            return events_shown(self.actor, events)

    def _after(self) -> int | None:
        asked = parse_qs(self.scope["query_string"].decode("latin-1")).get("after", [""])[0]
        return int(asked) if asked.isdecimal() and len(asked) < 19 else None

    @database_sync_to_async
    def _missed(self, after: int | None) -> tuple[int, list[dict[str, Any]] | None]:
        """The newest number, and the events after ``after``; None for them where some are no longer kept, or too many."""
        assert self.tenant is not None
        assert self.actor is not None
        with tenant_scope(self.tenant):
            newest = Journal.objects.filter(tenant=self.tenant).values_list("event_seq", flat=True).first() or 0
            if after is None or after == newest:
                return newest, []
            oldest = Event.objects.order_by("seq").values_list("seq", flat=True).first()
            events = list(Event.objects.filter(seq__gt=after).order_by("seq")[: REPLAY_MAX + 1])
            if after > newest or len(events) > REPLAY_MAX or oldest is None or after + 1 < oldest:
                return newest, None
            return newest, events_shown(self.actor, [event_message(event) for event in events])
