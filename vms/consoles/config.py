"""How one console process runs: handed from the command that reads the settings to the process without Django."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a console process is told.

    ``bind`` is ``host:port`` or ``unix:/path``; ``origins`` are the only values of ``Origin`` served; ``run_dir`` is a
    folder for sockets that the console processes of one machine share. The caps are on open consoles per guest and
    per user over all processes, and on connections of this one. ``proxies`` says how many reverse proxies stand before it.
    """

    bind: str
    redis_url: str
    origins: tuple[str, ...]
    name: str
    run_dir: str
    per_guest: int = 16
    per_user: int = 32
    connections: int = 500
    proxies: int = 0

    def to_json(self) -> str:
        """As ``from_json`` reads it; holds the redis URL and with it perhaps a password."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Config:
        """The inverse of ``to_json``."""
        words = json.loads(text)
        return cls(**words | {"origins": tuple(words["origins"])})
