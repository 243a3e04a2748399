"""What redis knows of consoles: who has one open, what was revoked, which proxies live, and how often what happened.

Revocations are entries of a redis stream and not messages of a channel: a proxy that was away reads what it missed, and
a ticket remembers the last entry before it, so that order is exact and no clock is compared.
All times are redis's own. Every function takes a client with or without ``decode_responses`` and raises ``RedisError``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from redis import Redis

PREFIX = "guesthouse:console:"
STREAM = f"{PREFIX}revocations"
PROXIES = f"{PREFIX}proxies"
COUNTERS = f"{PREFIX}counters"
BEGINNING = "0-0"
KEEP_REVOCATIONS_MS = 600_000
SESSION_TTL_S = 15
SUBJECTS = ("user", "tenant", "guest", "session")
STATE_LOST = "state_lost"

# Forget expired watchers, refuse at a cap, else enter: atomic, because two proxies may race for the last place.
ENTER = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for place = 1, 2 do
  redis.call('ZREMRANGEBYSCORE', KEYS[place], '-inf', now)
  if redis.call('ZCARD', KEYS[place]) >= tonumber(ARGV[3 + place]) then return place end
end
for place = 1, 2 do
  redis.call('ZADD', KEYS[place], now + ARGV[3], ARGV[1])
  redis.call('EXPIRE', KEYS[place], ARGV[3])
end
redis.call('SET', KEYS[3], ARGV[2], 'EX', ARGV[3])
return 0
"""


class Subject(Protocol):
    """Anything a revocation can hit; a ``Grant`` and a ``Watcher`` are."""

    @property
    def user(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def guest(self) -> str: ...
    @property
    def session(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Watcher:
    """One open console; ``since`` in unix seconds, ``address`` is the browser's, as far as our own proxies tell it."""

    id: str
    user: str
    tenant: str
    guest: str
    generation: int
    kind: str
    session: str
    writable: bool
    since: float
    address: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry of the stream: it hits whoever matches every subject it names."""

    id: str
    subjects: Mapping[str, str]
    reason: str

    def hits(self, subject: Subject) -> bool:
        """Whether ``subject`` is who this revocation is about; an entry that names nobody hits nobody."""
        return bool(self.subjects) and all(getattr(subject, name) == value for name, value in self.subjects.items())


def now(redis: Redis) -> float:
    """Redis's clock in unix seconds."""
    seconds, microseconds = redis.time()  # type: ignore[misc]  # redis-py types this as maybe awaitable
    return float(seconds) + float(microseconds) / 1e6


def revoke(
    redis: Redis,
    *,
    reason: str,
    user: str | None = None,
    tenant: str | None = None,
    guest: str | None = None,
    session: str | None = None,
) -> None:
    """Close every console and void every ticket that matches *all* subjects given; ``reason`` is a short code.

    ``user`` alone is everything of that user, ``user`` with ``tenant`` a lost membership. Safe to repeat. What is
    opened by a ticket issued later is not touched, so revoke after the change that justifies it is committed.
    """
    wanted = dict(zip(SUBJECTS, (user, tenant, guest, session), strict=True))
    subjects = {name: value for name, value in wanted.items() if value is not None}
    if not subjects:
        raise ValueError("a revocation names at least one subject")
    _append(redis, subjects | {"reason": reason})


def begin(redis: Redis) -> str:
    """Write an entry that hits nobody and return its id: from there on a lost stream can be told from a quiet one."""
    return _append(redis, {"reason": "proxy_started"})


def mark(redis: Redis) -> str:
    """The id of the newest revocation, or ``BEGINNING``."""
    entries = redis.xrevrange(STREAM, count=1)
    return _text(entries[0][0]) if entries else BEGINNING  # type: ignore[index]


def revoked_since(redis: Redis, subject: Subject, since: str) -> str | None:
    """The reason of the first revocation after ``since`` that hits ``subject``, else None.

    ``STATE_LOST`` when redis no longer knows what it knew at ``since``.
    """
    if is_older(mark(redis), since):
        return STATE_LOST
    entries = redis.xrange(STREAM, min=f"({since}")
    hits = (found.reason for found in read(entries) if found.hits(subject))  # type: ignore[arg-type]
    return next(hits, None)


def is_older(entry: str, than: str) -> bool:
    """Whether the stream id ``entry`` comes before ``than``."""
    return _order(entry) < _order(than)


def read(entries: Iterable[tuple[Any, Mapping[Any, Any]]]) -> list[Revocation]:
    """Stream entries as redis-py returns them, as revocations."""
    found = []
    for entry_id, fields in entries:
        words = {_text(name): _text(value) for name, value in fields.items()}
        subjects = {name: words[name] for name in SUBJECTS if name in words}
        found.append(Revocation(_text(entry_id), subjects, words.get("reason", "")))
    return found


def enter(redis: Redis, watcher: Watcher, *, per_guest: int, per_user: int) -> str | None:
    """Enter an open console; ``"guest_full"`` or ``"user_full"`` when that cap is reached, else None."""
    keys = [_places("guest", watcher.guest), _places("user", watcher.user), _watcher_key(watcher.id)]
    words = [watcher.id, json.dumps(asdict(watcher)), SESSION_TTL_S, per_guest, per_user]
    refused = int(redis.eval(ENTER, len(keys), *keys, *words))  # type: ignore[arg-type]
    return (None, "guest_full", "user_full")[refused]


def refresh(redis: Redis, watchers: Iterable[Watcher]) -> None:
    """Say that these consoles are still open; also restores entries redis has lost. Call every few seconds."""
    pipeline = redis.pipeline(transaction=False)
    until = now(redis) + SESSION_TTL_S
    for watcher in watchers:
        for places in (_places("guest", watcher.guest), _places("user", watcher.user)):
            pipeline.zadd(places, {watcher.id: until})
            pipeline.expire(places, SESSION_TTL_S)
        pipeline.set(_watcher_key(watcher.id), json.dumps(asdict(watcher)), ex=SESSION_TTL_S)
    pipeline.execute()


def leave(redis: Redis, watcher: Watcher) -> None:
    """Take a closed console out; safe to repeat."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.zrem(_places("guest", watcher.guest), watcher.id)
    pipeline.zrem(_places("user", watcher.user), watcher.id)
    pipeline.delete(_watcher_key(watcher.id))
    pipeline.execute()


def watchers(redis: Redis, guest: str) -> list[Watcher]:
    """Who has a console of ``guest`` open now, oldest first."""
    ids = redis.zrangebyscore(_places("guest", guest), now(redis), "+inf")
    if not ids:
        return []
    found = redis.mget([_watcher_key(_text(one)) for one in ids])  # type: ignore[union-attr]
    entries = [Watcher(**json.loads(one)) for one in found if one is not None]  # type: ignore[union-attr]
    return sorted(entries, key=lambda watcher: watcher.since)


def total(redis: Redis) -> int:
    """How many consoles are open now, of all guests; walks the keys, so for a page that is looked at, not for a loop."""
    return sum(1 for _ in redis.scan_iter(match=_watcher_key("*"), count=1000))


def count(redis: Redis, counted: Mapping[str, int]) -> None:
    """Add to the counters, whose names read ``opened:vnc``, ``refused:origin``, ``closed:revoked``."""
    pipeline = redis.pipeline(transaction=False)
    for name, number in counted.items():
        pipeline.hincrby(COUNTERS, name, number)
    pipeline.execute()


def counters(redis: Redis) -> dict[str, int]:
    """All counters since redis's beginning."""
    found: Mapping[Any, Any] = redis.hgetall(COUNTERS)  # type: ignore[assignment]
    return {_text(name): int(number) for name, number in found.items()}


def beat(redis: Redis, name: str, ttl_s: int = 10) -> None:
    """Say that the proxy ``name`` lives; believed for ``ttl_s`` seconds."""
    moment = now(redis)
    pipeline = redis.pipeline(transaction=False)
    pipeline.zadd(PROXIES, {name: moment + ttl_s})
    pipeline.zremrangebyscore(PROXIES, "-inf", moment)
    pipeline.execute()


def is_alive(redis: Redis) -> bool:
    """Whether at least one console proxy lives."""
    return bool(redis.zcount(PROXIES, now(redis), "+inf"))


def _append(redis: Redis, fields: Mapping[str, str]) -> str:
    oldest_ms = int(now(redis) * 1000) - KEEP_REVOCATIONS_MS
    entry = redis.xadd(STREAM, dict(fields), minid=f"{oldest_ms}-0", approximate=True)  # type: ignore[arg-type]
    return _text(entry)


def _places(what: str, name: str) -> str:
    return f"{PREFIX}open:{what}:{name}"


def _watcher_key(watcher_id: str) -> str:
    return f"{PREFIX}watcher:{watcher_id}"


def _order(entry: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence or 0)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
