"""How often somebody may ask: a count a minute, shared by all processes through Redis.

Without Redis each process counts alone (see ``docs/decisions``): the limit is softer then, and nobody is shut out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Final

import redis
import structlog
from django.conf import settings

log = structlog.get_logger(__name__)
WINDOW_S: Final = 60
ANSWER_S: Final = 0.25
LOOK_AGAIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of one limit in the present minute."""

    limit: int
    used: int
    reset_s: int

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def exceeded(self) -> bool:
        return self.used > self.limit


class _Alone:
    """This process's own counts, for as long as Redis does not answer."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._window = 0
        self._counts: dict[str, int] = {}
        self.until = 0.0

    def count(self, names: Sequence[str], window: int) -> list[int]:
        with self._lock:
            if window != self._window:
                self._window, self._counts = window, {}
            for name in names:
                self._counts[name] = self._counts.get(name, 0) + 1
            return [self._counts[name] for name in names]


_alone = _Alone()


@lru_cache(maxsize=1)
def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S)


def rates_count(limits: Sequence[tuple[str, int]]) -> list[Allowance]:
    """Count one request against each ``(name, limit a minute)``; one round trip to Redis."""
    at = time.time()
    window, reset_s = int(at // WINDOW_S), WINDOW_S - int(at % WINDOW_S)
    names = [name for name, _limit in limits]
    used = _counted(names, window)
    return [Allowance(limit, count, reset_s) for (_name, limit), count in zip(limits, used, strict=True)]


def _counted(names: Sequence[str], window: int) -> list[int]:
    if time.monotonic() < _alone.until:
        return _alone.count(names, window)
    try:
        pipe = _redis(settings.REDIS_URL).pipeline(transaction=False)
        for name in names:
            key = f"guesthouse:rate:{name}:{window}"
            pipe.incr(key)
            pipe.expire(key, WINDOW_S)
        return [int(count) for count in pipe.execute()[::2]]
    except redis.RedisError:
        _alone.until = time.monotonic() + LOOK_AGAIN_S
        log.warning("rate_limits_counted_alone", exc_info=True)
        return _alone.count(names, window)
