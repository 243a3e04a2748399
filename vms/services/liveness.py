"""Are the other processes there? Each says so in Redis every few seconds; silence is no."""

from __future__ import annotations

from typing import Final

from vms.services.consoles import console_redis

WORKER_KEY: Final = "guesthouse:worker:alive"
WATCHER_KEY: Final = "guesthouse:watcher:alive"


def worker_is_alive() -> bool:
    """Has a worker said so lately? Raises ``RedisError``."""
    return bool(console_redis().exists(WORKER_KEY))


def watcher_is_alive() -> bool:
    """Has a watcher said so lately? Raises ``RedisError``."""
    return bool(console_redis().exists(WATCHER_KEY))
