"""How processes speak to the Redis that carries messages: Kombu's transport, which a line that falls silent does not wear out."""

from __future__ import annotations

from typing import Any

from kombu.connection import Connection
from kombu.transport import redis, virtual


class Credit(redis.QoS):
    """How many messages a worker has taken, and may take: one that could not be acknowledged counts no more.

    Kombu goes on counting it, as if it were being worked on. A line that was silent when as many acknowledgements were due as a
    worker has processes would leave it without any message for good, on a connection that looks well: it asks for nothing on it.
    Redis hands such a message out again after an hour, which is only another look at a row.
    """

    def ack(self, delivery_tag: str) -> None:
        """As the base class's, and no longer counted also where it raises."""
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except self.channel.connection_errors:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """As the base class's, and no longer counted also where it raises."""
        try:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]
        except self.channel.connection_errors:
            virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]
            raise


class Channel(redis.Channel):
    """Kombu's, with what it counts counted right."""

    QoS = Credit


class Transport(redis.Transport):
    """Kombu's, with channels of ours."""

    Channel = Channel


class PatientConnection(Connection):
    """Looks for Redis every few seconds however long it has been away; Celery's own pauses grow to half a minute."""

    def ensure_connection(self, *args: Any, **named: Any) -> Any:
        """As the base class's, with shorter pauses."""
        return super().ensure_connection(*args, **{"interval_start": 1, "interval_step": 1, "interval_max": 3, **named})  # type: ignore[no-untyped-call]

    def get_transport_cls(self) -> type[Any]:
        """Ours in place of Kombu's for Redis."""
        found: type[Any] = super().get_transport_cls()  # type: ignore[no-untyped-call]
        return Transport if found is redis.Transport else found
