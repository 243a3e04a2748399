"""Structured logs: one JSON line an event, with request, tenant and operation bound, and never a secret.

Values under a name that smells of a secret are replaced, whatever a caller hands in.
"""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_SECRET = re.compile(r"pass|secret|token|ticket|cookie|authorization|user_data|private", re.IGNORECASE)
_PUBLIC = frozenset({"token_prefix", "token_id"})
_URL_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@|(?<=\?)[^\s\"]+")
_PATH_SECRET = re.compile(r"(/account/(?:invitation|password/reset/key)/)[^/\s\"]+")
"""Links of letters: whoever has the path has what it opens, and refused requests are logged with theirs."""


def _redact(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop secrets by name; strip credentials and query strings from URLs, and what letters' links open from paths."""
    for key, value in event.items():
        if _SECRET.search(key) and key not in _PUBLIC:
            event[key] = "[redacted]"
        elif isinstance(value, str) and "/" in value:
            text = _URL_CREDENTIALS.sub("", value) if "://" in value else value
            event[key] = _PATH_SECRET.sub(r"\1[redacted]", text)
    return event


def configure(stream: TextIO, level: int = logging.INFO) -> None:
    """Send every logger, ours and the libraries', to ``stream`` as JSON lines; safe to repeat."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        _redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.access", "django.server", "httpx", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
