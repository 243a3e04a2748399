"""Large files out of the portal: Django says who may have which part of which file, an ASGI layer sends it without a thread.

``file_response`` is the answer to GET and HEAD, with ranges, without a body: the part of the file is named in a header that never
leaves the process. ``SendFile`` finds it there once the request's thread is free again, and reads and sends piece by piece, no
faster than the client takes them.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import structlog
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response

from portal.core.front import App, Message, Receive, Scope, Send

log = structlog.get_logger(__name__)
MARK: Final = "X-Send-File"
RANGE: Final = re.compile(r"\Abytes=(\d{0,18})-(\d{0,18})\Z", re.ASCII)
PIECE: Final = 256 * 1024
MOST: Final = 64
"""Files that one process sends at once."""
MOST_EACH: Final = 16
"""Of those for one project."""
PIECE_S: Final = 60.0
"""How long a client may take for a piece; who is slower comes back for the rest."""
LONGEST_S: Final = 6 * 3600.0


def file_response(request: HttpRequest, file: Path, *, size: int, etag: str, name: str, whose: str) -> HttpResponse:
    """Give ``file`` of ``size`` bytes out as a download called ``name``, or the one range of it that is asked for.

    ``etag`` is strong and stands for these very bytes. ``whose`` is who shares in how many are sent at once. ``name`` is plain
    ASCII without quotes. Several ranges in one request get the whole file, which the standard allows.
    """
    unchanged = get_conditional_response(request, etag=etag)
    if unchanged is not None:
        return unchanged
    part = range_of(request, size=size, etag=etag)
    begin, end = part or (0, size)
    if begin == end:
        refused = HttpResponse(status=416)
        refused["Content-Range"] = f"bytes */{size}"
        return refused
    response = HttpResponse(status=206 if part else 200, content_type="application/octet-stream")
    if part:
        response["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    response["Content-Length"] = str(end - begin)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = "private, no-store, no-transform"
    response["ETag"] = etag
    if request.method != "HEAD":
        response[MARK] = f"{whose} {begin} {end} {quote(str(file))}"
    return response


def range_of(request: HttpRequest, *, size: int, etag: str) -> tuple[int, int] | None:
    """From which byte to before which; none of them where what is asked for lies outside of the file. None: all of it.

    That is also what they get who ask for something else than a single range of bytes, or on the condition of another tag.
    Source: RFC 9110, 13.1.5 and 14.
    """
    asked = RANGE.match(request.headers.get("Range", "").strip())
    if asked is None or request.headers.get("If-Range", etag).strip() != etag:
        return None
    first, last = asked.groups()
    if not first:
        return (max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    begin = min(size, int(first))
    return begin, max(begin, min(size, int(last) + 1)) if last else size


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be sent: bytes of a file, from ``begin`` to before ``end``."""

    whose: str
    begin: int
    end: int
    file: str


class SendFile:
    """Sends what ``file_response`` names; everything else passes through."""

    def __init__(
        self, app: App, *, most: int = MOST, most_each: int = MOST_EACH, piece_s: float = PIECE_S,
        longest_s: float = LONGEST_S,
    ) -> None:  # fmt: skip
        self.app, self.most, self.most_each = app, most, most_each
        self.piece_s, self.longest_s = piece_s, longest_s
        self.sending: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        found: list[tuple[Message, Part]] = []

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                part = _part(message.get("headers", ()))
                if part is not None:
                    found.append((message, part))
            if not found:
                await send(message)

        await self.app(scope, receive, watched)
        for start, part in found:
            await self._give(start, part, receive, send)

    async def _give(self, start: Message, part: Part, receive: Receive, send: Send) -> None:
        if self.sending[part.whose] >= self.most_each or self.sending.total() >= self.most:
            await _refuse(send, 503, "The portal sends as many files as it can at once.", retry=True)
            return
        try:
            file = os.open(part.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            await _refuse(send, 404, "The file is gone.")
            return
        self.sending[part.whose] += 1
        try:
            headers = [(name, value) for name, value in start["headers"] if name.lower() != MARK.lower().encode()]
            await send({**start, "headers": headers})
            await self._send(file, part, receive, send)
        finally:
            os.close(file)
            self.sending[part.whose] -= 1
            self.sending += Counter()  # who has none any more is forgotten

    async def _send(self, file: int, part: Part, receive: Receive, send: Send) -> None:
        """Piece by piece until all is sent, the client is gone, or it takes too long; then the server cuts the connection."""
        loop, at = asyncio.get_running_loop(), part.begin
        gone = asyncio.ensure_future(_gone(receive))
        try:
            async with asyncio.timeout(self.longest_s):
                while at < part.end and not gone.done():
                    piece = await loop.run_in_executor(None, os.pread, file, min(PIECE, part.end - at), at)
                    if not piece:
                        log.error("file_shorter_than_promised", file=os.path.basename(part.file), at=at)
                        return
                    at += len(piece)
                    async with asyncio.timeout(self.piece_s):
                        await send({"type": "http.response.body", "body": piece, "more_body": at < part.end})
        except TimeoutError:
            log.info("file_taken_too_slowly", sent=at - part.begin, of=part.end - part.begin)
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone


async def _gone(receive: Receive) -> None:
    """Returns once the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _part(headers: Iterable[tuple[bytes, bytes]]) -> Part | None:
    for name, value in headers:
        if name.lower() == MARK.lower().encode():
            whose, begin, end, file = value.decode("ascii").split(" ")
            return Part(whose, int(begin), int(end), unquote(file))
    return None


async def _refuse(send: Send, status: int, title: str, *, retry: bool = False) -> None:
    body = json.dumps({"type": "about:blank", "title": title, "status": status}).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    await send(
        {"type": "http.response.start", "status": status, "headers": headers + [(b"retry-after", b"30")] * retry}
    )
    await send({"type": "http.response.body", "body": body})
