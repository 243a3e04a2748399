"""How the accounts library goes out to providers: to public addresses, and to the private ones that an operator named.

A provider's description names further addresses (its keys, its token endpoint), so each connection is checked, not only the
first address. Every exchange is bounded in time and size, follows no redirect and takes no proxy from the environment.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any, Final

from requests import PreparedRequest, RequestException, Response, Session
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util.connection import create_connection

from portal.core.reach import NotReached, resolve

SILENCE_S: Final = 5.0
"""How long a provider may say nothing."""
LASTS_S: Final = 15.0
"""How long one answer may take in all."""
LARGEST: Final = 1024 * 1024
"""Bytes of an answer; a provider's keys are the longest of them."""


class ProviderSession(Session):
    """A session of ``requests`` that goes only where it may: ``private`` are the providers inside our networks.

    ``private`` holds origins (``https://id.corp.example:8443``). What is refused, too slow or too long raises a
    ``RequestException``.
    """

    def __init__(self, private: Iterable[str] = ()) -> None:
        super().__init__()
        self.trust_env = False
        for prefix in ("http://", "https://"):
            self.mount(prefix, _Guarded(private=False))
        for origin in private:
            self.mount(f"{origin}/", _Guarded(private=True))

    def send(self, request: PreparedRequest, **options: Any) -> Response:
        """Send it, read the answer to its end within bounds, and follow it nowhere."""
        deadline = time.monotonic() + LASTS_S
        bounds = {"timeout": SILENCE_S, "allow_redirects": False, "stream": True}
        response = super().send(request, **{**options, **bounds})
        try:
            response._content = _whole(response, deadline)
        except (HTTPError, OSError) as error:
            raise RequestException(f"the answer broke off: {error}", response=response) from error
        finally:
            response.close()
        return response


def _whole(response: Response, deadline: float) -> bytes:
    """The body. It is read as it comes, since a server that sends a byte now and then must not hold us for ever."""
    body = bytearray()
    while chunk := response.raw.read1(64 * 1024, decode_content=True):
        body += chunk
        if len(body) > LARGEST:
            raise RequestException("the answer is too long", response=response)
        if time.monotonic() > deadline:
            raise RequestException("the answer takes too long", response=response)
    return bytes(body)


class _Guarded(HTTPAdapter):
    """Connects only to checked addresses; trusts the system's certificate authorities besides the usual ones."""

    def __init__(self, *, private: bool) -> None:
        self._private = private
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=ssl.create_default_context())
        self.poolmanager.pool_classes_by_scheme = {
            "http": _pool(HTTPConnectionPool, HTTPConnection, private=self._private),
            "https": _pool(HTTPSConnectionPool, HTTPSConnection, private=self._private),
        }


def _pool(pool: type[Any], connection: type[HTTPConnection], *, private: bool) -> type[Any]:
    """A kind of pool whose connections go to a checked address and never ask for the name again."""

    def _new_conn(self: HTTPConnection) -> socket.socket:
        failed: Exception | None = None
        try:
            for address in resolve(self.host, self.port, allow_private=private):
                try:
                    return create_connection((str(address), self.port), SILENCE_S, socket_options=self.socket_options)
                except OSError as error:
                    failed = error
        except NotReached as error:
            failed = error
        raise NewConnectionError(self, str(failed)) from failed

    checked = type("Checked", (connection,), {"_new_conn": _new_conn})
    return type("CheckedPool", (pool,), {"ConnectionCls": checked})
