"""``manage.py console_proxy``: the process that carries consoles between browsers and guests."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from portal.settings.env import BASE_DIR
from vms.consoles.config import Config
from vms.consoles.origins import origin_of


def config() -> Config:
    """The console process's configuration, from the settings."""
    return Config(
        bind=settings.CONSOLE_BIND,
        redis_url=settings.REDIS_URL,
        origins=(origin_of(settings.PUBLIC_URL),),
        name=f"{socket.gethostname()}:{os.getpid()}",
        run_dir=str(settings.RUN_DIR),
        proxies=settings.TRUSTED_PROXIES,
    )


class Command(BaseCommand):
    """Reads the settings, then becomes a process without Django: a third of the memory, and no database to reach."""

    help = "Serve consoles: WebSockets on CONSOLE_BIND, opened with the portal's one-time tickets."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Replace this process; the process id, and so the supervisor's view of it, stays."""
        reading, writing = os.pipe()
        # Less than a pipe holds, so this does not block; and no argument or variable shows the redis URL.
        os.write(writing, config().to_json().encode())
        os.close(writing)
        os.dup2(reading, 0)
        os.close(reading)
        os.chdir(BASE_DIR)
        os.execv(sys.executable, [sys.executable, "-m", "vms.consoles"])
