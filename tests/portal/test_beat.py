"""Beat as ``bin/up`` starts it: without Django, on a Redis behind a unix socket."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis import Redis

from portal.schedule import SCHEDULE
from tests.lab.waiting import wait_until
from tests.support.redis import private_redis  # noqa: F401 - a fixture


@contextmanager
def running_beat(redis_url: str) -> Iterator[subprocess.Popen[bytes]]:
    beat = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "portal.beat"],
        env={**os.environ, "REDIS_URL": redis_url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield beat
    finally:
        beat.kill()
        beat.wait()


@pytest.fixture
def redis(private_redis: str) -> Iterator[Redis]:  # noqa: F811
    with Redis.from_url(private_redis) as client:
        client.flushdb()
        yield client
        client.flushdb()


def test_beat_asks_for_what_is_due(private_redis: str, redis: Redis) -> None:  # noqa: F811
    assert private_redis.startswith("unix://")

    with running_beat(private_redis) as beat:
        wait_until(lambda: redis.llen("celery") or beat.poll() is not None, timeout_s=60, what="a message")

        assert beat.poll() is None, "beat has ended"


def test_a_redis_emptied_while_beat_waits_for_the_lock_leaves_it_its_schedule(private_redis: str, redis: Redis) -> None:  # noqa: F811
    redis.set("redbeat::lock", "a beat that was killed", ex=600)

    with running_beat(private_redis) as beat:
        wait_until(lambda: redis.scard("redbeat::statics") == len(SCHEDULE), timeout_s=60, what="the schedule")
        redis.flushdb()
        wait_until(lambda: redis.llen("celery") or beat.poll() is not None, timeout_s=60, what="a message")

        assert beat.poll() is None, "beat has ended"
        assert redis.scard("redbeat::statics") == len(SCHEDULE)
