"""One thread a process with an event loop of its own, through which synchronous code speaks to the channel layer.

``async_to_sync`` would make a loop and a Redis connection for every message; this keeps both.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Final

import redis
import structlog
from channels.layers import get_channel_layer

from portal.core.rest import Rest

log = structlog.get_logger(__name__)
PATIENCE_S: Final = 0.5

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_rest = Rest(2.0)


def send(group: str, message: dict[str, Any]) -> None:
    """Hand a message to the channel layer, in order, waiting half a second at most, and not while it was just found silent.

    The database row is the truth: one that gets lost (no Redis, too slow) is caught up by ``?after=``, so it is logged and
    never raised.
    """
    if _rest.is_on:
        return
    sending = asyncio.run_coroutine_threadsafe(_send(group, message), _running_loop())
    try:
        sending.result(PATIENCE_S)
    except (redis.RedisError, OSError, FutureTimeout) as error:
        sending.cancel()
        _rest.begin()
        log.warning("event_not_pushed", detail=str(error) or type(error).__name__)


async def _send(group: str, message: dict[str, Any]) -> None:
    await get_channel_layer().group_send(group, message)


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="publisher", daemon=True).start()
        return _loop


def _after_fork() -> None:
    """The thread did not come along, and the lock may have been held: begin anew."""
    global _lock, _loop
    _lock, _loop = threading.Lock(), None


os.register_at_fork(after_in_child=_after_fork)
