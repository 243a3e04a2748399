"""One thread per proxy that reads revocations and closes what they hit; without redis it closes everything."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from vms.consoles import registry
from vms.consoles.sessions import CloseCode, Ending, Session

if TYPE_CHECKING:
    from redis import Redis

log = structlog.get_logger()

LISTEN_MS = 500
BEAT_EVERY_S = 3.0
COUNT_EVERY_S = 1.0
GRACE_S = 4.0
RETRY_S = 0.1


class Warden(threading.Thread):
    """Admits sessions, ends those that are revoked, keeps the registry fresh; fails closed ``GRACE_S`` after redis."""

    def __init__(self, redis: Redis, *, name: str) -> None:
        super().__init__(name="console-warden", daemon=True)
        self._redis = redis
        self._proxy = name
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._sessions: set[Session] = set()
        self._counted: Counter[str] = Counter()
        self._cursor: str | None = None
        self._answered_at = float("-inf")
        self._next_beat = self._next_count = 0.0
        self._stopping = threading.Event()
        self._began = threading.Event()

    @property
    def is_trusted(self) -> bool:
        """Whether redis has answered lately, so that a revocation would be heard."""
        return self.is_alive() and time.monotonic() - self._answered_at < GRACE_S

    def admit(self, session: Session) -> None:
        """Watch over ``session``; what was revoked between its ticket and now must be asked for after this call."""
        with self._lock:
            self._sessions.add(session)

    def dismiss(self, session: Session) -> None:
        """Forget a session, not while its entry is just being refreshed; safe to repeat."""
        with self._telling, self._lock:
            self._sessions.discard(session)

    def count(self, name: str) -> None:
        """Count an event; written to redis within ``COUNT_EVERY_S`` seconds while redis answers."""
        with self._lock:
            self._counted[name] += 1

    def wait_until_trusted(self, timeout_s: float) -> bool:
        """Wait for redis's first answer; False when it did not come."""
        return self._began.wait(timeout_s)

    def end_all(self, ending: Ending) -> None:
        """Ask every console to close."""
        for session in self._snapshot():
            session.end(ending)

    def stop(self) -> None:
        """End the thread; its consoles end with it."""
        self._stopping.set()

    def run(self) -> None:
        """Listen until stopped; whatever ends this loop ends the consoles it no longer guards."""
        try:
            while not self._stopping.is_set():
                self._turn()
        finally:
            self.end_all(Ending(CloseCode.GOING_AWAY, "proxy_stopped", "The console service is restarting."))

    def _turn(self) -> None:
        try:
            self._listen()
            self._tell()
        except RedisError as error:
            if self.is_trusted:
                log.warning("console_redis_silent", error=type(error).__name__)
            self._stopping.wait(RETRY_S)
        if time.monotonic() - self._answered_at >= GRACE_S:
            self.end_all(Ending(CloseCode.NO_REDIS, "redis_lost", "The portal cannot vouch for this session."))

    def _listen(self) -> None:
        if self._cursor is None:
            self._cursor = registry.begin(self._redis)
        # A reply to a blocking read tells nothing of entries lost before it, so the newest id is compared each time.
        newest = registry.mark(self._redis)
        self._answered_at = time.monotonic()
        self._began.set()
        if registry.is_older(newest, self._cursor):
            self._cursor = registry.begin(self._redis)
            self.end_all(Ending(CloseCode.NO_REDIS, registry.STATE_LOST, "The portal lost its list of sessions."))
        answer = self._redis.xread({registry.STREAM: self._cursor}, count=1000, block=LISTEN_MS)
        self._answered_at = time.monotonic()
        for _, entries in answer or ():  # type: ignore[union-attr]
            for revocation in registry.read(entries):
                self._cursor = revocation.id
                self._carry_out(revocation)

    def _carry_out(self, revocation: registry.Revocation) -> None:
        for session in self._snapshot():
            if revocation.hits(session.grant):
                session.end(revoked(revocation.reason))

    def _tell(self) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            with self._telling:
                registry.refresh(self._redis, [session.watcher for session in self._snapshot()])
            registry.beat(self._redis, self._proxy)
            self._next_beat = now + BEAT_EVERY_S
        if self._counted and now >= self._next_count:
            with self._lock:
                counted, self._counted = self._counted, Counter()
            try:
                registry.count(self._redis, counted)
            except RedisError:
                with self._lock:
                    self._counted.update(counted)
                raise
            self._next_count = now + COUNT_EVERY_S

    def _snapshot(self) -> list[Session]:
        with self._lock:
            return list(self._sessions)


def revoked(reason: str) -> Ending:
    """The ending of a console whose permission is gone."""
    return Ending(CloseCode.REVOKED, "revoked", reason)
