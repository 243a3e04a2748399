"""What an answer tells an attacker: its status, its body to the byte, which headers it has, and how much work was behind it.

Work is counted in queries, never timed: what costs the same queries, found or not, cannot be told apart by a clock.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

SAME_REQUEST = "the-same-request"


class Told(NamedTuple):
    """One answer; two that are equal tell nothing apart."""

    status: int
    body: bytes
    headers: frozenset[str]
    queries: int


def told(client: Client, method: str, address: str, body: bytes = b"", **headers: str) -> Told:
    """Ask once, of which nothing stays."""
    with transaction.atomic():
        with CaptureQueriesContext(connection) as queries:
            given = {**headers, "X-Request-Id": SAME_REQUEST}
            answer: Any = client.generic(method, address, body, content_type="application/json", headers=given)
            content = answer.getvalue()
        transaction.set_rollback(True)
    return Told(answer.status_code, content, frozenset(answer.headers), len(queries))
