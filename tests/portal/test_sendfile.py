"""Large files: ranges as the standard says, and sent by no thread, no faster than they are taken."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import RequestFactory

from portal.core import sendfile
from portal.core.sendfile import MARK, SendFile, file_response

SIZE = 1_000_000
TAG = '"sum"'
type Send = Callable[[dict[str, Any]], Awaitable[None]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a disk.qcow2"
    path.write_bytes(os.urandom(SIZE))
    return path


def asked(file: Path, method: str = "GET", **headers: str) -> Any:
    request = RequestFactory().generic(method, "/", headers={k.replace("_", "-"): v for k, v in headers.items()})
    return file_response(request, file, size=SIZE, etag=TAG, name="web-root.qcow2", whose="them")


@pytest.mark.parametrize(
    ("headers", "status", "part"),
    [
        pytest.param({}, 200, (0, SIZE), id="all of it"),
        pytest.param({"Range": "bytes=0-0"}, 206, (0, 1), id="the first byte"),
        pytest.param({"Range": "bytes=999999-"}, 206, (SIZE - 1, SIZE), id="the last byte"),
        pytest.param({"Range": "bytes=500000-"}, 206, (500_000, SIZE), id="the rest"),
        pytest.param({"Range": "bytes=-10"}, 206, (SIZE - 10, SIZE), id="the end"),
        pytest.param({"Range": "bytes=-9999999"}, 206, (0, SIZE), id="a longer end than there is"),
        pytest.param({"Range": "bytes=10-9999999"}, 206, (10, SIZE), id="beyond the end"),
        pytest.param({"Range": "bytes=5-9", "If_Range": TAG}, 206, (5, 10), id="of what was seen"),
        pytest.param({"Range": "bytes=5-9", "If_Range": '"other"'}, 200, (0, SIZE), id="of another file"),
        pytest.param({"Range": "bytes=5-9", "If_Range": "Mon, 23 Nov 2026 07:28:00 GMT"}, 200, (0, SIZE), id="a date"),
        pytest.param({"Range": "bytes=9-5"}, 200, (0, SIZE), id="backwards"),
        pytest.param({"Range": "bytes=-"}, 200, (0, SIZE), id="nothing"),
        pytest.param({"Range": "bytes=0-1,5-6"}, 200, (0, SIZE), id="several"),
        pytest.param({"Range": "lines=0-1"}, 200, (0, SIZE), id="another unit"),
        pytest.param({"Range": "bytes=٣-٤"}, 200, (0, SIZE), id="other digits"),
        pytest.param({"Range": "bytes=" + "9" * 400 + "-"}, 200, (0, SIZE), id="a number too long"),
        pytest.param({"Range": "bytes=1000000-"}, 416, None, id="right behind the end"),
        pytest.param({"Range": "bytes=-0"}, 416, None, id="an end of nothing"),
        pytest.param({"If_None_Match": TAG}, 304, None, id="not again"),
        pytest.param({"If_Match": '"other"'}, 412, None, id="not that one"),
    ],
)
def test_a_range_is_answered_as_the_standard_says(
    file: Path, headers: dict[str, str], status: int, part: tuple[int, int] | None
) -> None:
    answer = asked(file, **headers)

    assert answer.status_code == status
    if part is None:
        assert MARK not in answer
        assert status != 416 or answer["Content-Range"] == f"bytes */{SIZE}"
        return
    begin, end = part
    assert answer["Content-Length"] == str(end - begin)
    assert answer.get("Content-Range") == (None if status == 200 else f"bytes {begin}-{end - 1}/{SIZE}")
    assert answer["Content-Disposition"] == 'attachment; filename="web-root.qcow2"'
    assert (answer["ETag"], answer["Accept-Ranges"]) == (TAG, "bytes")
    assert answer[MARK].split(" ")[:3] == ["them", str(begin), str(end)]
    assert MARK not in asked(file, "HEAD", **headers)


def app_for(answer: Any) -> Any:
    """What Django and the thread pool give: the head, and an empty body."""

    async def app(_scope: Any, _receive: Any, send: Send) -> None:
        headers = [(name.encode(), value.encode()) for name, value in answer.items()]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content})

    return app


async def still_there() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


class Client:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    async def take(self, message: dict[str, Any]) -> None:
        self.said.append(message)

    @property
    def status(self) -> int:
        return int(self.said[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.said[1:])

    @property
    def ended(self) -> bool:
        return not self.said[-1].get("more_body", False)


SCOPE = {"type": "http", "method": "GET", "path": "/"}


def fetch(layer: SendFile, receive: Any = still_there) -> Client:
    client = Client()
    asyncio.run(layer(SCOPE, receive, client.take))
    return client


def test_the_file_comes_in_pieces_and_its_place_stays_inside(file: Path) -> None:
    client = fetch(SendFile(app_for(asked(file, Range="bytes=10-700009"))))

    assert (client.status, client.ended) == (206, True)
    assert client.body == file.read_bytes()[10:700_010]
    assert max(len(message.get("body", b"")) for message in client.said) == sendfile.PIECE
    assert all(str(file) not in str(message) and MARK.lower() not in str(message).lower() for message in client.said)


@pytest.mark.parametrize("headers", [{"Range": "bytes=1000000-"}, {"If_None_Match": TAG}])
def test_an_answer_without_a_file_passes(file: Path, headers: dict[str, str]) -> None:
    client = fetch(SendFile(app_for(asked(file, **headers))))

    assert (client.status, client.body) == (asked(file, **headers).status_code, b"")


def test_a_file_that_has_just_gone_is_not_there(file: Path) -> None:
    answer = asked(file)
    file.unlink()

    assert fetch(SendFile(app_for(answer))).status == 404


def test_who_hangs_up_is_sent_nothing_more(file: Path) -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    client = fetch(SendFile(app_for(asked(file))), gone)

    assert not client.ended


def test_who_takes_nothing_is_given_up(file: Path) -> None:
    async def stuck(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    layer = SendFile(app_for(asked(file)), piece_s=0.01)
    asyncio.run(layer(SCOPE, still_there, stuck))

    assert not layer.sending


@pytest.mark.parametrize(("most", "most_each"), [(9, 1), (1, 9)])
def test_more_than_can_be_sent_at_once_come_later(file: Path, most: int, most_each: int) -> None:
    async def both() -> tuple[Client, int]:
        layer = SendFile(app_for(asked(file)), most=most, most_each=most_each)
        begun, go_on, first = asyncio.Event(), asyncio.Event(), Client()

        async def slow(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.body":
                begun.set()
                await go_on.wait()
            await first.take(message)

        sending = asyncio.ensure_future(layer(SCOPE, still_there, slow))
        await begun.wait()
        second = Client()
        await layer(SCOPE, still_there, second.take)
        go_on.set()
        await sending
        return second, len(first.body)

    second, sent = asyncio.run(both())

    assert (second.status, dict(second.said[0]["headers"])[b"retry-after"], sent) == (503, b"30", SIZE)


def test_a_file_shorter_than_its_row_says_is_cut_and_not_stretched(file: Path) -> None:
    answer = asked(file)
    with file.open("r+b") as opened:
        opened.truncate(300_000)

    client = fetch(SendFile(app_for(answer)))

    assert (len(client.body), client.ended) == (300_000, False)
