"""``python -m portal.beat``: Celery's beat, without Django and command line: it only sends names, in half the memory.

redbeat's lock in Redis makes a second one harmless. It writes the schedule to Redis first and waits for the lock then, up
to half a minute after a beat that was killed; a Redis emptied meanwhile hands over the lock and has no schedule. So we
write it once more, which changes nothing where it stands.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging
from redbeat.schedulers import acquire_distributed_beat_lock

from portal.core.logs import configure
from portal.schedule import SCHEDULE

REDIS_URL = os.environ["REDIS_URL"]
KEEPALIVE = {} if REDIS_URL.startswith("unix://") else {"socket_keepalive": True}
"""Only TCP has it; a connection to a unix socket refuses the word."""

app = Celery("guesthouse-beat", fixups=set())
app.conf.update(
    broker_url=REDIS_URL.replace("unix://", "redis+socket://", 1),
    redbeat_redis_url=REDIS_URL,
    redbeat_redis_options={"socket_timeout": 5, "socket_connect_timeout": 5, **KEEPALIVE},
    redbeat_lock_timeout=30,
    beat_schedule=SCHEDULE,
    beat_max_loop_interval=5,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"max_retries": 0, "socket_timeout": 5, "socket_connect_timeout": 5},
    task_serializer="json",
    task_ignore_result=True,
    timezone="UTC",
)


@setup_logging.connect
def _our_logs(**kwargs: Any) -> None:
    """JSON lines, as everywhere."""
    configure(sys.stderr)


beat_init.disconnect(acquire_distributed_beat_lock)


@beat_init.connect
def _lock_then_schedule(sender: Any, **kwargs: Any) -> None:
    """Celery logs what is raised here and goes on; the next tick ends a beat without a lock."""
    acquire_distributed_beat_lock(sender)
    sender.scheduler.setup_schedule()


if __name__ == "__main__":
    app.Beat(scheduler_cls="redbeat.RedBeatScheduler", loglevel=logging.INFO).run()
