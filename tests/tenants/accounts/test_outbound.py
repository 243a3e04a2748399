"""The way out to sign-in providers leads to where it may and nowhere else, and no answer holds us up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from requests import RequestException

from portal.core.errors import Invalid
from tenants.accounts import outbound
from tenants.accounts.discovery import provider_look
from tenants.accounts.outbound import LARGEST, ProviderSession
from tests import factories


class Server(ThreadingHTTPServer):
    """Answers on loopback; ``asked`` is what reached it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.elsewhere, self.said = "", '{"said": "hello"}'

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        {"/long": self.long, "/away": self.away, "/drip": self.drip}.get(self.path, self.plain)()

    def plain(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.said.encode())

    def away(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.server.elsewhere)
        self.end_headers()

    def long(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            self.wfile.write(b" " * (LARGEST + 1))
        except OSError:
            return  # hung up, as it should

    def drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b" ")
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name for it)
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serving()


@pytest.fixture
def other() -> Iterator[Server]:
    yield from serving()


def serving() -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_our_own_networks_are_reached_only_at_the_origin_an_operator_named(server: Server, other: Server) -> None:
    with ProviderSession([server.origin]) as session:
        assert session.get(f"{server.origin}/x").json() == {"said": "hello"}
        for address in (other.origin, other.origin.replace("127.0.0.1", "localhost"), f"{other.origin}/x"):
            with pytest.raises(RequestException, match="private network"):
                session.get(address)
        with pytest.raises(RequestException):
            session.post(f"{other.origin}/token", data={"client_secret": "x"})

    assert other.asked == []


def test_without_an_operators_word_nothing_inside_is_reached(server: Server) -> None:
    with ProviderSession() as session, pytest.raises(RequestException, match="private network"):
        session.get(server.origin)

    assert server.asked == []


def test_an_origin_is_no_prefix_of_another(server: Server) -> None:
    """``http://127.0.0.1:80`` must not open ``http://127.0.0.1:8080``."""
    with ProviderSession([server.origin[:-1]]) as session, pytest.raises(RequestException, match="private network"):
        session.get(server.origin)

    assert server.asked == []


def test_no_redirect_is_followed(server: Server, other: Server) -> None:
    server.elsewhere = f"{other.origin}/inside"
    with ProviderSession([server.origin, other.origin]) as session:
        assert session.get(f"{server.origin}/away").status_code == 302

    assert other.asked == []


def test_no_proxy_of_the_environment_is_taken(server: Server, other: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", other.origin)
    with ProviderSession() as session, pytest.raises(RequestException, match="private network"):
        session.get(server.origin)

    assert other.asked == []


def test_an_answer_that_is_too_long_is_cut_off(server: Server) -> None:
    with ProviderSession([server.origin]) as session, pytest.raises(RequestException, match="too long"):
        session.get(f"{server.origin}/long")


def test_an_answer_that_never_ends_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "LASTS_S", 0.0)
    with ProviderSession([server.origin]) as session, pytest.raises(RequestException, match="takes too long"):
        session.get(f"{server.origin}/drip")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("not json", "provider_silent"),
        ("[]", "provider_silent"),
        ("{}", "provider_silent"),
        ('{"issuer": "https://elsewhere.test"}', "issuer_differs"),
        ('{"issuer": "HERE"}', "provider_incomplete"),
    ],
)
def test_what_describes_no_provider_of_that_address_is_none(server: Server, said: str, code: str) -> None:
    server.said = said.replace("HERE", server.origin)

    with pytest.raises(Invalid) as refusal:
        provider_look(server.origin, private=True, actor=factories.desk())

    assert [(error.pointer, error.code) for error in refusal.value.errors] == [("/issuer", code)]
    assert server.asked == ["/.well-known/openid-configuration"]
