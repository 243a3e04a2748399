"""One-time console tickets: 256 random bits that a browser may turn into one console within seconds.

A ticket lies in redis under its SHA-256 and its content is encrypted with a key derived from the ticket itself,
so neither the key names nor the values of a redis dump open a console or show a display's password.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vms.consoles import registry

if TYPE_CHECKING:
    from redis import Redis

TICKET_BYTES = 32
TICKET_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")


class Kind(StrEnum):
    """What the browser will speak: RFB, or the raw bytes of the serial line."""

    VNC = "vnc"
    SERIAL = "serial"


@dataclass(frozen=True, slots=True)
class Grant:
    """What one ticket allows.

    ``target`` is the path of the unix socket beside the guest; ``session`` names the browser session or the API token
    (a hash of it, never itself); ``origin`` is the one ``Origin`` accepted; ``expires_at`` (unix seconds) ends the
    open console however it is used; a console that is not ``writable`` shows and takes no input. ``log_path`` may
    name the serial line's log file, from which a first viewer gets the recent past. ``mark`` is filled by ``issue``.
    """

    user: str
    tenant: str
    guest: str
    generation: int
    kind: Kind
    target: str
    password: str = field(repr=False)
    session: str
    origin: str
    expires_at: float
    writable: bool
    log_path: str = ""
    mark: str = ""


def issue(redis: Redis, grant: Grant, *, ttl_s: int = 30, since: str | None = None) -> str:
    """Return a new ticket for ``grant``, good once and for ``ttl_s`` seconds.

    A revocation after ``since`` (see ``registry.mark``; take it before you check permissions) kills the ticket;
    without it, one after this call does.
    """
    ticket = secrets.token_urlsafe(TICKET_BYTES)
    content = asdict(grant) | {"mark": registry.mark(redis) if since is None else since}
    redis.set(_key(ticket), _cipher(ticket).encrypt(json.dumps(content).encode()), ex=ttl_s)
    return ticket


def redeem(redis: Redis, ticket: str) -> Grant | None:
    """Take ``ticket`` out of redis and return its grant; None when used, expired, malformed, forged or revoked."""
    if not TICKET_SHAPE.fullmatch(ticket):
        return None
    sealed = redis.getdel(_key(ticket))
    if sealed is None:
        return None
    try:
        content = json.loads(_cipher(ticket).decrypt(sealed))  # type: ignore[arg-type]  # redis: bytes | str
    except InvalidToken:
        return None
    grant = Grant(**content | {"kind": Kind(content["kind"])})
    if grant.expires_at <= registry.now(redis) or registry.revoked_since(redis, grant, grant.mark) is not None:
        return None
    return grant


def address(base: str, ticket: str) -> str:
    """The complete ``ws(s)://`` address a browser opens, from the console endpoint's public ``base``."""
    return f"{base}{'&' if '?' in base else '?'}ticket={ticket}"


def _key(ticket: str) -> str:
    return f"{registry.PREFIX}ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"


def _cipher(ticket: str) -> Fernet:
    kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"guesthouse console ticket")
    return Fernet(base64.urlsafe_b64encode(kdf.derive(ticket.encode())))
