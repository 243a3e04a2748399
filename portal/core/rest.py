"""Leaving alone for a while what has just not answered; pure."""

from __future__ import annotations

import time


class Rest:
    """After a failure, ``seconds`` in which nobody asks again: of many callers one waits for what is not there, not all.

    Safe across threads: at worst two of them wait at once.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = 0.0

    @property
    def is_on(self) -> bool:
        """Is it too early to ask again?"""
        return time.monotonic() < self._until

    def begin(self) -> None:
        """It did not answer."""
        self._until = time.monotonic() + self.seconds
