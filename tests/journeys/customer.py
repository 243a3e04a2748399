"""A customer: plain HTTP and WebSockets, a token, an address; knows nothing else of the product."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import struct
import time
from collections.abc import Iterator
from typing import Any, Self

import httpx
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.lab.guests import _PROMPT as PROMPT
from tests.lab.guests import Serial
from tests.lab.waiting import wait_until

BOOT_S = 240
OPERATION_S = 240


class Customer:
    """Speaks for one person in one tenant. ``get``, ``post``, … take paths below the tenant; raise nothing, return answers."""

    def __init__(self, url: str, slug: str, person: dict[str, str]) -> None:
        self.url, self.slug, self.person = url, slug, person
        self.http = httpx.Client(
            base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {person['token']}"}, timeout=90
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.http.close()

    # --- REST -------------------------------------------------------------------------------------------------------
    def path(self, path: str) -> str:
        return f"/tenants/{self.slug}{path}"

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.http.get(self.path(path), params=query)

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return self.http.post(self.path(path), json=body, headers=headers)

    def delete(self, path: str, **query: Any) -> httpx.Response:
        return self.http.delete(self.path(path), params=query)

    def done(self, answer: httpx.Response) -> dict[str, Any]:
        """Wait for the operation that a 202 speaks of, by its ``Location``; it succeeded."""
        assert answer.status_code == 202, answer.text
        operation = self.ended(answer.headers["Location"])
        assert operation["status"] == "succeeded", operation
        return operation

    def ended(self, location: str) -> dict[str, Any]:
        """The operation at ``location`` once it is over, by long polls."""
        deadline = time.monotonic() + OPERATION_S
        while True:
            operation: dict[str, Any] = self.http.get(self.url + location, params={"wait": 30}).json()
            if operation["status"] not in ("queued", "running"):
                return operation
            assert time.monotonic() < deadline, operation

    def guest(self, pk: str) -> dict[str, Any]:
        answer = self.get(f"/guests/{pk}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def create(self, name: str, **wish: Any) -> dict[str, Any]:
        """A machine of the tiny size and image, made and running."""
        body = {"name": name, "flavor": "tiny", "image": self.image(), **wish}
        operation = self.done(self.post("/guests", body))
        return self.guest(operation["subject"]["id"])

    def image(self) -> str:
        """The first image on offer, which ``bin/up`` made sure of."""
        images = self.get("/images").json()["items"]
        return str(images[0]["id"])

    def piece(self, upload: str, content: bytes, offset: int) -> httpx.Response:
        """Send a piece of an image that is being uploaded."""
        headers = {"Content-Type": "application/octet-stream", "Upload-Offset": str(offset)}
        return self.http.patch(self.path(f"/image-uploads/{upload}"), content=content, headers=headers)

    def upload(self, name: str, content: bytes) -> str:
        """An image of their own, of one piece, ready; its id."""
        begun = self.post("/image-uploads", {"name": name, "size": len(content), "format": "raw"}).json()
        asked = self.piece(begun["id"], content, 0).json()["operation"]
        assert self.ended(f"/api/v1{self.path('/operations')}/{asked}")["status"] == "succeeded"
        return str(begun["image"])

    def act(self, pk: str, action: str) -> dict[str, Any]:
        return self.done(self.post(f"/guests/{pk}/{action}"))

    def sees(self, pk: str, status: str, *, within_s: float) -> None:
        """The machine shows ``status`` within that many seconds.

        A long wait looks seldom: a token may ask 600 times a minute, whatever it asks for.
        """
        shown = lambda: self.guest(pk)["status"] == status  # noqa: E731
        wait_until(shown, timeout_s=within_s, what=f"{pk} shows {status}", every_s=max(0.05, within_s / 300))

    # --- consoles ---------------------------------------------------------------------------------------------------
    def console(self, pk: str, kind: str) -> ClientConnection:
        """An open console, as a page of the portal opens it."""

        def opening() -> httpx.Response | None:
            answer = self.post(f"/guests/{pk}/console", {"kind": kind})
            return None if answer.status_code == 409 else answer

        answer = wait_until(opening, timeout_s=20, what=f"a {kind} console of {pk}")
        assert answer.status_code == 200, answer.text
        return connect(
            answer.json()["url"], origin=Origin(self.url), subprotocols=[Subprotocol("binary")], open_timeout=60,
            max_size=None,
        )  # fmt: skip

    @contextlib.contextmanager
    def serial(self, pk: str) -> Iterator[Line]:
        """The machine's serial line."""
        with self.console(pk, "serial") as connection:
            yield Line(connection)

    # --- the browser's side -----------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def sign_in(self) -> Iterator[httpx.Client]:
        """A browser's session: cookies, no token."""
        with httpx.Client(base_url=self.url, follow_redirects=True, timeout=60) as browser:
            self._fill_in(browser)
            yield browser

    def _fill_in(self, browser: httpx.Client) -> None:
        page = browser.get("/")
        form = re.search(r'<form[^>]*method="post"[^>]*action="([^"]*login[^"]*)"', page.text)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token, page.text[:2000]
        answer = browser.post(
            form[1] if form else str(page.url),
            data={"login": self.person["email"], "password": self.person["password"], "csrfmiddlewaretoken": token[1]},
            headers={"Referer": str(page.url)},
        )
        assert answer.status_code == 200, answer.text[:2000]

    def events(self, browser: httpx.Client, *, after: int | None = None, slug: str = "") -> ClientConnection:
        """The tenant's live events, as a page of the signed-in browser hears them."""
        query = "" if after is None else f"?after={after}"
        address = self.url.replace("http", "ws", 1) + f"/ws/t/{slug or self.slug}/events{query}"
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar)
        return connect(address, origin=Origin(self.url), additional_headers={"Cookie": cookies}, open_timeout=60)


class Line(Serial):
    """A serial line over a console's WebSocket; read and written as the one beside the guest is."""

    def __init__(self, connection: ClientConnection) -> None:
        self._socket = _Socket(connection)  # type: ignore[assignment]
        self._unread = ""
        self.seen = ""

    def at_shell(self) -> None:
        """Past the history that comes first, at the prompt of whoever is logged in."""
        word = secrets.token_hex(8)
        self.type(f"echo {word[:8]}''{word[8:]}")
        self.read_until(word, timeout_s=30)
        self.read_until(PROMPT, timeout_s=30)


class _Socket:
    """As much of a socket as ``Serial`` needs, over a WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._timeout_s = connection, 20.0

    def settimeout(self, seconds: float) -> None:
        self._timeout_s = seconds

    def recv(self, _size: int) -> bytes:
        data = self._connection.recv(timeout=self._timeout_s)
        return data.encode() if isinstance(data, str) else data

    def sendall(self, data: bytes) -> None:
        self._connection.send(data)

    def close(self) -> None:
        self._connection.close()


def one_frame(connection: ClientConnection) -> tuple[int, int, bytes]:
    """Shake hands as RFB 3.8 without any security, ask for the whole screen once; its width, height and raw pixels.

    Source: RFC 6143, sections 7.1 to 7.7.1.
    """
    stream = _Stream(connection)
    assert stream.read(12) == b"RFB 003.008\n"
    connection.send(b"RFB 003.008\n")
    assert stream.read(2) == b"\x01\x01", "one security type: None"
    connection.send(b"\x01")
    assert stream.read(4) == bytes(4)
    connection.send(b"\x01")
    width, height, bits, *_rest = struct.unpack(">HHBBBBHHHBBB3x", stream.read(20))
    stream.read(struct.unpack(">I", stream.read(4))[0])
    connection.send(struct.pack(">BxHi", 2, 1, 0))
    connection.send(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
    pixels = b""
    while len(pixels) < width * height * bits // 8:
        pixels += _update(stream, bits)
    return width, height, pixels


def _update(stream: _Stream, bits: int) -> bytes:
    kind, count = struct.unpack(">BxH", stream.read(4))
    assert kind == 0, "a framebuffer update"
    pixels = b""
    for _ in range(count):
        _x, _y, width, height, encoding = struct.unpack(">HHHHi", stream.read(12))
        assert encoding == 0, "raw"
        pixels += stream.read(width * height * bits // 8)
    return pixels


class _Stream:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection, self.rest = connection, b""

    def read(self, size: int) -> bytes:
        while len(self.rest) < size:
            data = self.connection.recv(timeout=30)
            assert isinstance(data, bytes)
            self.rest += data
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken


def heard(connection: ClientConnection, *, timeout_s: float) -> dict[str, Any]:
    """The next thing said on an events socket; raises ``TimeoutError``."""
    said: dict[str, Any] = json.loads(connection.recv(timeout=timeout_s))
    return said
