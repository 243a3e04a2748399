"""``GET …/operations/{id}?wait=S``: ask, await the doorbell, ask again, without holding a thread meanwhile."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any
from urllib.parse import parse_qs, urlencode

from channels.layers import get_channel_layer

from operations.events import OPERATIONS_GROUP
from portal.core.front import App, Message, Receive, Scope, Send

WAITABLE = re.compile(r"\A/api/v1/(?:tenants/[^/]+/)?operations/[0-9a-f-]{32,36}\Z")
LONGEST_S = 60.0
LOOK_AGAIN_S = 5.0
LIVE_MARK = (b"x-operation-live", b"1")


class LongPoll:
    """Repeats the request until its answer says the operation is over, or the asked seconds have passed.

    The API marks the answer of a live operation with a header; only such answers are waited upon.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wait = _seconds(scope)
        if not wait:
            await self.app(scope, receive, send)
            return
        until = time.monotonic() + wait
        pk = scope["path"].rsplit("/", 1)[1].replace("-", "")
        layer = get_channel_layer()
        channel = await layer.new_channel("wait")
        await layer.group_add(OPERATIONS_GROUP.format(pk), channel)
        try:
            while True:
                answer = await _ask(self.app, scope)
                left = until - time.monotonic()
                if LIVE_MARK not in answer[0].get("headers", []) or left <= 0:
                    break
                await _doorbell(layer, channel, min(left, LOOK_AGAIN_S))
        finally:
            await layer.group_discard(OPERATIONS_GROUP.format(pk), channel)
        for message in answer:
            await send(message)


async def _doorbell(layer: Any, channel: str, seconds: float) -> None:
    try:
        await asyncio.wait_for(layer.receive(channel), seconds)
    except TimeoutError:
        return


async def _ask(app: App, scope: Scope) -> list[Message]:
    answer: list[Message] = []

    async def empty() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def keep(message: Message) -> None:
        answer.append(message)

    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    query.pop("wait", None)
    await app({**scope, "query_string": urlencode(query, doseq=True).encode()}, empty, keep)
    return answer


def _seconds(scope: Scope) -> float:
    if scope["type"] != "http" or scope["method"] != "GET" or not WAITABLE.match(scope["path"]):
        return 0.0
    try:
        asked = float(parse_qs(scope["query_string"].decode("latin-1")).get("wait", ["0"])[0])
    except ValueError:
        return 0.0
    return min(max(asked, 0.0), LONGEST_S) if asked == asked else 0.0
