"""Waiting for a condition with a deadline, instead of sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until[T](look: Callable[[], T | None], *, timeout_s: float, what: str, every_s: float = 0.05) -> T:
    """Call ``look`` until it returns something true, and return that.

    Raises ``TimeoutError`` naming ``what`` after ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        time.sleep(every_s)
