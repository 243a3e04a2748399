"""How a worker takes messages from a Redis behind a line that falls silent."""

from __future__ import annotations

from collections.abc import Iterator
from logging import getLogger
from pathlib import Path

import pytest
from kombu import Message
from kombu.exceptions import OperationalError

from portal.broker import PatientConnection
from tests.lab.waiting import wait_until
from tests.support.faults import FaultyLine
from tests.support.redis import private_redis  # noqa: F401 - a fixture

OPTIONS = {"max_retries": 0, "socket_timeout": 0.2, "socket_connect_timeout": 1.0, "health_check_interval": 1}


@pytest.fixture
def line(private_redis: str) -> Iterator[FaultyLine]:  # noqa: F811
    line = FaultyLine(Path(private_redis.removeprefix("unix://").partition("?")[0]))
    yield line
    line.close()


@pytest.mark.parametrize("answer", ["ack_log_error", "reject_log_error"])
def test_a_message_that_cannot_be_answered_does_not_keep_the_next_away(line: FaultyLine, answer: str) -> None:
    taken: list[Message] = []
    with (
        PatientConnection(f"redis://127.0.0.1:{line.port}/0", transport_options=OPTIONS) as connection,
        connection.SimpleQueue(f"bells {answer}") as bells,
        connection.Consumer([bells.queue], on_message=taken.append) as consumer,
    ):
        consumer.qos(prefetch_count=1)
        for number in range(2):
            bells.put(number)
        wait_until(lambda: heard(connection) or taken, timeout_s=10, what="the first message")

        line.hold()
        getattr(taken[0], answer)(getLogger(__name__), connection.connection_errors)
        assert not taken[0].acknowledged, "the line was not held"
        wait_until(lambda: heard(connection) or len(taken) == 2, timeout_s=10, what="the second message")

        assert [message.payload for message in taken] == [0, 1]


def heard(connection: PatientConnection) -> None:
    """Let messages arrive for a moment, over a line that may have to be made anew."""
    try:
        connection.drain_events(timeout=0.1)
    except (TimeoutError, OperationalError, *connection.connection_errors):
        return
