"""The suite's own services: PostgreSQL below Django, Redis on a socket, nothing on the network, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis
from django.conf import settings
from django.db import connection

from launcher.installation import ROOT
from launcher.processes import await_condition
from tests.support import services

PRINT_AND_HOLD = """
import os, sys
from tests.support.services import provide
stack = provide()
print(os.environ["DATABASE_URL"], os.environ["REDIS_URL"], os.environ["GUESTHOUSE_STATE"], flush=True)
if sys.stdin.readline():
    stack.close()
"""


def servers_below(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children() if child.name().startswith(("postgres", "redis", "valkey"))]


@pytest.fixture
def holder() -> subprocess.Popen[str]:
    """A process that brought services of its own and waits for a line."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return subprocess.Popen(
        [sys.executable, "-c", PRINT_AND_HOLD],
        cwd=ROOT, env={**environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'bin/lib'}", "GUESTHOUSE_TEST_OWNS": ""},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.django_db
def test_the_suite_runs_on_postgresql() -> None:
    assert connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        cursor.execute("SHOW listen_addresses")
        assert cursor.fetchone() == ("",)


def test_redis_listens_on_a_socket_only() -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.config_get("port") == {"port": "0"}


@pytest.mark.parametrize("ending", ["politely", "by SIGKILL"])
def test_services_end_with_the_process_that_brought_them(holder: subprocess.Popen[str], ending: str) -> None:
    assert holder.stdout
    state = Path(holder.stdout.readline().split()[2])
    servers = servers_below(psutil.Process(holder.pid))
    assert len(servers) == 2

    if ending == "politely":
        holder.communicate("stop\n", timeout=30)
    else:
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=30)

    assert await_condition(lambda: not any(server.is_running() for server in servers), timeout_s=60)
    assert ending == "by SIGKILL" or not state.exists()


def test_what_a_killed_run_left_is_swept_by_a_later_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(services, "PLACE", tmp_path)
    monkeypatch.setattr(services, "ABANDONED_AFTER_S", 0)
    abandoned = tmp_path / f"{services.PREFIX}abandoned"
    abandoned.mkdir()

    with services.private_directory() as living, services.private_directory() as next_one:
        assert sorted(tmp_path.iterdir()) == sorted([living, next_one])
