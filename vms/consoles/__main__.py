"""``python -m vms.consoles``: read a ``Config`` as JSON from standard input, then serve.

Standard input and not arguments, because the redis URL may hold a password. ``manage.py console_proxy`` starts this.
"""

from __future__ import annotations

import sys
import warnings

# websockify unmasks with numpy where it is there; ConsoleSocket does that itself, and numpy is 12 MiB of memory.
sys.modules["numpy"] = None  # type: ignore[assignment]
warnings.filterwarnings("ignore", message="no 'numpy' module")

import structlog  # noqa: E402

from vms.consoles.config import Config  # noqa: E402
from vms.consoles.proxy import run  # noqa: E402

# The portal's own log set-up would bring Celery and Django's settings into this process.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ],
    wrapper_class=structlog.make_filtering_bound_logger("info"),
    logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
)
run(Config.from_json(sys.stdin.read()))
