"""The part of the interface that reaches into a guest, or reads what it wrote; whatever comes back is the guest's own word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Inside(Protocol):
    """Verbs on what is inside a guest; each waits for its agent 5 seconds at most.

    ``AgentSilent`` where no agent answers, or where it says no.
    """

    def agent_set_password(self, uuid: str, user: str, password: str, *, hashed: bool) -> None:
        """Give ``user`` a password: a crypt(3) hash where ``hashed``. It is handed on, and kept nowhere."""

    def agent_add_keys(self, uuid: str, user: str, keys: Sequence[str]) -> None:
        """Let ``keys`` sign in as ``user``, beside those that may already."""

    def log_tail(self, pool: str, name: str, *, most: int) -> bytes:
        """The last ``most`` bytes of a serial log in our pool; empty where there is none."""
