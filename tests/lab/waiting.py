"""Waiting for a condition with a deadline, instead of sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LEAST_S: Final = 60
"""Where work of others takes the processors, what takes a second may take many; a wait that succeeds costs none of it."""


def wait_until[T](look: Callable[[], T | None], *, timeout_s: float, what: str, every_s: float = 0.05) -> T:
    """Call ``look`` until it returns something true, and return that.

    Raises ``TimeoutError`` naming ``what`` after ``timeout_s`` seconds, or ``LEAST_S`` if that is more.
    """
    timeout_s = max(timeout_s, LEAST_S)
    deadline = time.monotonic() + timeout_s
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        time.sleep(every_s)
