"""Beat as ``bin/up`` starts it: without Django, on a Redis behind a unix socket."""

from __future__ import annotations

import os
import subprocess
import sys

from redis import Redis

from tests.lab.waiting import wait_until
from tests.support.redis import private_redis  # noqa: F401 - a fixture


def test_beat_asks_for_what_is_due(private_redis: str) -> None:  # noqa: F811
    assert private_redis.startswith("unix://")
    redis = Redis.from_url(private_redis)
    redis.delete("celery")
    beat = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "portal.beat"],
        env={**os.environ, "REDIS_URL": private_redis},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: redis.llen("celery") or beat.poll() is not None, timeout_s=60, what="a message")

        assert beat.poll() is None, "beat has ended"
    finally:
        beat.kill()
        beat.wait()
        redis.delete("celery")
        redis.close()
