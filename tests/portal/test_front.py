"""Before the threads: bodies arrive whole, small and in time; long polls hold no thread."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from operations import services, waiting
from operations.waiting import LIVE_MARK, LongPoll
from portal.core.front import BodyFirst
from tests import factories
from tests.operations.kinds import kind, submit

type Messages = list[dict[str, Any]]


def scope(path: str = "/", method: str = "POST", query: str = "") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": []}


async def echo(_scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body it got."""
    message = await receive()
    assert not message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def chunks(*parts: bytes, then: Callable[[], Awaitable[Any]] | None = None) -> Callable[[], Awaitable[dict[str, Any]]]:
    """A client that sends ``parts`` and then does ``then`` (by default: it ends the request with the last one)."""
    left = list(parts)

    async def receive() -> dict[str, Any]:
        if not left:
            assert then is not None
            return await then()
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left) or then is not None}

    return receive


async def never() -> Any:
    await asyncio.Event().wait()


async def gone() -> Any:
    return {"type": "http.disconnect"}


async def ask(app: Any, receive: Any, **where: Any) -> tuple[int, bytes]:
    said: Messages = []

    async def send(message: Any) -> None:
        said.append(message)

    await app(scope(**where), receive, send)
    return said[0]["status"], said[1]["body"]


async def test_a_body_in_pieces_arrives_as_one() -> None:
    assert await ask(BodyFirst(echo), chunks(b"a", b"", b"bc")) == (200, b"abc")
    assert await ask(BodyFirst(echo), chunks(b"")) == (200, b"")


async def test_a_body_that_does_not_end_in_time_is_refused() -> None:
    status, body = await ask(BodyFirst(echo, deadline_s=0.1), chunks(b"a", then=never))

    assert status == 408
    assert json.loads(body)["status"] == 408


@pytest.mark.parametrize("parts", [[b"x" * 11], [b"x" * 6, b"x" * 6], [b"x"] * 11], ids=["one", "two", "many"])
async def test_a_body_that_is_too_large_is_refused_before_it_has_all_come(parts: list[bytes]) -> None:
    status, _body = await ask(BodyFirst(echo, limit=10), chunks(*parts, then=never))

    assert status == 413


async def test_half_a_request_of_a_client_that_went_away_is_nobodys_wish() -> None:
    """A form cut off in its middle was carried out with what had come."""
    said: Messages = []

    async def send(message: Any) -> None:
        said.append(message)

    async with asyncio.timeout(5):
        await BodyFirst(echo)(scope(), chunks(b"name=web", then=gone), send)

    assert said == []


async def test_unfinished_requests_hold_up_nobody() -> None:
    """Twice as many as there are threads; a health check is answered meanwhile, by the real application."""
    from portal.asgi import THREADS, application

    async def healthz() -> int:
        headers = [(b"host", b"testserver")]
        said: Messages = []

        async def send(message: Any) -> None:
            said.append(message)

        await application(
            {**scope("/healthz", "GET"), "headers": headers, "http_version": "1.1", "scheme": "http",
             "server": ("testserver", 80), "client": ("127.0.0.1", 1), "raw_path": b"/healthz", "root_path": "",
             "asgi": {"version": "3.0"}},
            chunks(b""), send,
        )  # fmt: skip
        return int(said[0]["status"])

    stuck = [asyncio.create_task(ask(application, chunks(b"{", then=never))) for _ in range(2 * THREADS)]
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            assert await healthz() == 200
    finally:
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)


# --- waiting for an operation ---------------------------------------------------------------------------------------
class Api:
    """Answers as the API does: with the operation's status, and the mark while it is live."""

    def __init__(self, operation: Any) -> None:
        self.operation, self.asked = operation, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        assert b"wait" not in scope["query_string"]
        await sync_to_async(self.operation.refresh_from_db)()
        headers = [LIVE_MARK] if self.operation.is_live else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": str(self.operation.status).encode()})


@pytest.fixture
async def polled(transactional_db: None) -> AsyncIterator[Api]:
    with kind():
        house = await sync_to_async(factories.tenant_with_owner)()
        yield Api(await sync_to_async(submit)(house))


def path(api: Api, slug: str = "t") -> str:
    return f"/api/v1/tenants/{slug}/operations/{api.operation.pk}"


async def test_a_long_poll_answers_as_soon_as_the_operation_ends(polled: Api) -> None:
    """The end is heard, not polled for: looking again alone would take seconds."""
    asking = asyncio.create_task(ask(LongPoll(polled), None, path=path(polled), method="GET", query="wait=30&x=1"))
    while polled.asked == 0:
        await asyncio.sleep(0.01)
    claimed = await sync_to_async(services.operation_claim)(polled.operation.pk, worker="w")
    began = time.monotonic()
    assert await sync_to_async(services.operation_finish)(claimed, worker="w")

    async with asyncio.timeout(20):
        assert await asking == (200, b"succeeded")
    assert time.monotonic() - began < waiting.LOOK_AGAIN_S


async def test_a_long_poll_ends_when_its_time_is_over(polled: Api) -> None:
    async with asyncio.timeout(20):
        assert await ask(LongPoll(polled), None, path=path(polled), method="GET", query="wait=0.3") == (200, b"queued")


@pytest.mark.parametrize("query", ["", "wait=0", "wait=-1", "wait=nan", "wait=x", "wait="])
async def test_without_a_sane_wait_the_request_is_asked_once(query: str) -> None:
    asked = []

    async def app(given: Any, receive: Any, send: Any) -> None:
        asked.append(given["query_string"])
        await echo(given, receive, send)

    await ask(LongPoll(app), chunks(b""), path=f"/api/v1/operations/{'0' * 32}", method="GET", query=query)

    assert asked == [query.encode()]
