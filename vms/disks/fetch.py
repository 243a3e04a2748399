"""Download an image from an address that a stranger gave, without becoming their messenger into our networks.

Every address is checked before the connection and the connection goes to the checked address, on each redirect anew.
Bytes, time and encodings are bounded, and nothing is kept unless the checksum is right.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import http.client
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

from portal.core.reach import NotReached, resolve
from vms.disks.errors import FetchFailed, FetchRefused

_MAX_REDIRECTS = 5
_MAX_URL = 2048
_CHUNK = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Printable ASCII without what URL parsers disagree about.
_PLAIN_URL = re.compile(r"[!#-\[\]_a-z~|]+", re.IGNORECASE)

type Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A downloaded file whose checksum is right; ``url`` is where the last redirect led."""

    path: Path
    size: int
    checksum: str
    url: str


@dataclass(frozen=True, slots=True)
class _Reach:
    """How long a download may take and where it may go; ``deadline`` is a time of the monotonic clock."""

    deadline: float
    silence_s: float
    allow_private: bool
    ca_file: Path | None

    def left_s(self) -> float:
        return max(0.0, self.deadline - time.monotonic())


def fetch(
    url: str,
    *,
    checksum: str,
    into: Path,
    max_bytes: int,
    progress: Progress | None = None,
    allow_private: bool = False,
    ca_file: Path | None = None,
    deadline_s: float = 3600,
    silence_s: float = 30,
) -> Fetched:
    """Download ``url`` to the file ``into``; ``checksum`` is its SHA-256, or its SHA-512, in hexadecimal.

    ``allow_private`` is for operators' own mirrors, ``ca_file`` trusts their certificate authority besides the usual.
    The whole takes ``deadline_s`` seconds at most, a silence of the server ``silence_s``. ``progress`` gets bytes so far
    and bytes in all (None where the server does not say); what it raises cancels. Raises ``FetchRefused`` before a
    request is made to an address we do not go to, ``FetchFailed`` for all else; then nothing is kept, and ``into`` is
    as it was. A second call downloads again.
    """
    wanted = checksum.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{128}", wanted):
        raise FetchRefused("The checksum must be a SHA-256 or SHA-512 in hexadecimal.", code="checksum_invalid")
    kind = "sha256" if len(wanted) == 64 else "sha512"
    reach = _Reach(time.monotonic() + deadline_s, silence_s, allow_private, ca_file)
    unfinished = into.with_name(f".{into.name}.{os.getpid()}.part")
    try:
        with _final_response(url, reach) as (response, final):
            size, digest = _store(response, unfinished, reach, kind=kind, max_bytes=max_bytes, progress=progress)
        if not hmac.compare_digest(digest, wanted):
            raise FetchFailed("The checksum of the download is another one.", code="checksum_mismatch", detail=digest)
        unfinished.replace(into)
    except (OSError, http.client.HTTPException) as error:
        raise _failure(error, reach) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return Fetched(into, size, digest, final)


def fetch_text(
    url: str,
    *,
    max_bytes: int,
    allow_private: bool = False,
    ca_file: Path | None = None,
    deadline_s: float = 60,
    silence_s: float = 30,
) -> str:
    """The text at ``url``, of at most ``max_bytes`` bytes; what is no UTF-8 in it is replaced. Limits and errors as ``fetch``."""
    reach = _Reach(time.monotonic() + deadline_s, silence_s, allow_private, ca_file)
    try:
        with _final_response(url, reach) as (response, _final):
            body = response.read(max_bytes + 1)
            if not reach.left_s():  # what looks like the end is the guard's hanging up
                raise TimeoutError
    except (OSError, http.client.HTTPException) as error:
        raise _failure(error, reach) from error
    if len(body) > max_bytes:
        raise FetchFailed(f"The file is larger than {max_bytes} bytes.", code="download_too_large")
    return body.decode("utf-8", "replace")


@contextmanager
def _final_response(url: str, reach: _Reach) -> Iterator[tuple[http.client.HTTPResponse, str]]:
    """Follow redirects, each checked like the first address, to an answer with status 200."""
    scheme = ""
    for _ in range(_MAX_REDIRECTS + 1):
        parts = _checked(url)
        if scheme == "https" and parts.scheme != "https":
            raise FetchRefused("A redirect leads from https to http.", code="url_downgrade")
        scheme = parts.scheme
        with _request(parts, reach) as response:
            if response.status not in _REDIRECTS:
                if response.status != 200:
                    raise FetchFailed(f"The server answered {response.status}.", code="download_status")
                yield response, url
                return
            location = response.headers.get("Location", "")
            if len(location) > _MAX_URL or not _PLAIN_URL.fullmatch(location):
                raise FetchRefused("A redirect leads to an address that cannot be used.", code="url_invalid")
            url = urljoin(url, location)
    raise FetchRefused(f"More than {_MAX_REDIRECTS} redirects.", code="url_redirects")


def _checked(url: str) -> SplitResult:
    """The parts of a URL that leaves no room for two readings."""
    if len(url) > _MAX_URL or not _PLAIN_URL.fullmatch(url):
        raise FetchRefused("The address holds characters that do not belong in one.", code="url_invalid")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FetchRefused("This is not a web address.", code="url_invalid", detail=str(error)) from error
    if parts.scheme not in ("http", "https"):
        raise FetchRefused("Only http and https addresses are taken.", code="url_scheme")
    if not parts.hostname or parts.hostname.endswith((".local", ".localhost", ".internal")):
        raise FetchRefused("The address names no host on the internet.", code="url_host")
    if "@" in parts.netloc:
        raise FetchRefused("The address must not hold a user name or password.", code="url_userinfo")
    if port == 0:
        raise FetchRefused("The address names no port.", code="url_invalid")
    return parts


@contextmanager
def _request(parts: SplitResult, reach: _Reach) -> Iterator[http.client.HTTPResponse]:
    assert parts.hostname
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = resolve(parts.hostname, port, allow_private=reach.allow_private)
    except NotReached as error:
        raise FetchRefused(error.sentence, code=error.code, detail=error.detail) from error
    plain = _connect([str(address) for address in addresses], port, reach)
    # One timer for the whole exchange: a server that sends a byte now and then must not hold us for ever.
    guard = threading.Timer(reach.left_s(), _hang_up, [plain])
    guard.daemon = True
    guard.start()
    connection = http.client.HTTPConnection(parts.hostname, port)
    try:
        wire = plain
        if parts.scheme == "https":
            trust = ssl.create_default_context()
            if reach.ca_file:
                trust.load_verify_locations(reach.ca_file)
            # The timer's socket must stay the one below TLS: wrapping would empty it.
            duplicate = plain.dup()
            duplicate.settimeout(reach.silence_s)
            wire = trust.wrap_socket(duplicate, server_hostname=parts.hostname)
        connection.sock = wire  # so that it never resolves the name again
        connection.putrequest("GET", _target(parts), skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", parts.netloc)
        connection.putheader("User-Agent", "Guesthouse")
        connection.putheader("Accept-Encoding", "identity")
        connection.putheader("Connection", "close")
        connection.endheaders()
        with connection.getresponse() as response:
            yield response
    finally:
        guard.cancel()
        connection.close()
        plain.close()


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _connect(addresses: list[str], port: int, reach: _Reach) -> socket.socket:
    """A connection to the first checked address that takes one."""
    error: OSError | None = None
    for address in addresses:
        if not reach.left_s():
            raise TimeoutError
        try:
            connection = socket.create_connection((address, port), timeout=min(reach.silence_s, reach.left_s()))
        except OSError as failed:
            error = failed
            continue
        connection.settimeout(reach.silence_s)
        return connection
    assert error
    raise error


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed in the same moment


def _store(
    response: http.client.HTTPResponse,
    path: Path,
    reach: _Reach,
    *,
    kind: str,
    max_bytes: int,
    progress: Progress | None,
) -> tuple[int, str]:
    """Write the body to a new file; returns its size and its checksum of that ``kind``."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed("The server compresses the file on its way.", code="download_encoding")
    stated = response.length
    if stated is not None and stated > max_bytes:
        raise FetchFailed(f"The file is larger than {max_bytes} bytes.", code="download_too_large")
    digest = hashlib.new(kind)
    size = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := response.read1(_CHUNK):
            size += len(chunk)
            if size > max_bytes:
                raise FetchFailed(f"The file is larger than {max_bytes} bytes.", code="download_too_large")
            digest.update(chunk)
            file.write(chunk)
            if progress:
                progress(size, stated)
        if not reach.left_s():  # what looks like the end is the guard's hanging up
            raise TimeoutError
        if stated is not None and size != stated:
            raise FetchFailed("The download ended too early.", code="download_cut", detail=f"{size} of {stated}")
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def _failure(error: Exception, reach: _Reach) -> FetchFailed:
    if not reach.left_s():
        return FetchFailed("The download took too long.", code="download_timeout")
    if isinstance(error, TimeoutError):
        return FetchFailed("The server went silent.", code="download_timeout")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return FetchFailed("There is no room to store the download.", code="storage_full")
    return FetchFailed("The download failed.", detail=f"{type(error).__name__}: {error}")
