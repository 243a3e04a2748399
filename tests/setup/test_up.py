"""bin/up for real, against a libvirt host of the lab: first run, second run, two side by side, trouble, Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from launcher.installation import ROOT, Installation
from launcher.processes import Supervisor, await_condition
from portal.schedule import SCHEDULE
from tests.lab.hosts import Host
from tests.setup.test_installation import free_port
from tests.support.services import private_directory

START_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Portal:
    """One state directory and how its portal is started."""

    state: Path
    port: int
    libvirt_uri: str

    def command(self, *more: str) -> list[str]:
        return [
            str(ROOT / "bin/up"), "--no-install", "--state", str(self.state), "--port", str(self.port),
            "--libvirt-uri", self.libvirt_uri, "--run-root", str(self.state.parent / "run"), *more,
        ]  # fmt: skip

    def up(self, *more: str) -> subprocess.CompletedProcess[str]:
        return run(*self.command("--detach", *more))

    def down(self) -> subprocess.CompletedProcess[str]:
        return run(str(ROOT / "bin/down"), "--state", str(self.state))

    def manage(self, *command: str) -> subprocess.CompletedProcess[str]:
        return run(str(ROOT / "bin/manage"), "--state", str(self.state), *command)

    def get(self, path: str, token: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=30)

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def installation(self) -> Installation:
        return Installation(self.state)

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.installation)

    @property
    def first_run(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.state / "first-run.json").read_text())
        return content


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of bin/ as a person would: nothing of the suite's own environment reaches it."""
    return subprocess.run(
        command, env=persons_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=START_TIMEOUT_S, check=False,
    )  # fmt: skip


def persons_environment() -> dict[str, str]:
    ours = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")
    return {
        name: value for name, value in os.environ.items() if name not in ours and not name.startswith("GUESTHOUSE_")
    }


@pytest.fixture(scope="module")
def portals(lab_host: Host) -> Iterator[tuple[Portal, Portal]]:
    """Two portals that were never started, for one libvirt host; whatever they start and store goes with them."""
    with ExitStack() as stack:
        places = [stack.enter_context(private_directory()) for _ in range(2)]
        one, other = (Portal(place / "state", free_port(), lab_host.uri) for place in places)
        for portal in (one, other):
            stack.callback(clear_away, portal)
        yield one, other


def clear_away(portal: Portal) -> None:
    portal.down()
    if portal.installation.secrets_file.exists():
        shutil.rmtree(portal.installation.data_dir, ignore_errors=True)


@pytest.fixture(scope="module")
def portal(portals: tuple[Portal, Portal]) -> Portal:
    """The first of them, up; whoever breaks it waits until it is ready again."""
    answer = portals[0].up()
    assert answer.returncode == 0, answer.stderr
    return portals[0]


def test_a_first_run_ends_with_a_sign_in_that_works(portal: Portal) -> None:
    first_run = portal.first_run

    assert first_run["url"] == f"http://127.0.0.1:{portal.port}"
    assert stat.S_IMODE((portal.state / "first-run.json").stat().st_mode) == 0o600
    for person in (first_run["operator"], first_run["tenant"]["owner"]):
        answer = portal.get("/api/v1/me", person["token"])
        assert (answer.status_code, answer.json()["user"]["email"]) == (200, person["email"])


def test_a_first_run_ends_with_a_host_and_an_image(portal: Portal) -> None:
    token = portal.first_run["operator"]["token"]

    assert portal.get("/readyz").json()["parts"]["hosts"] == {"up": 1, "total": 1}
    assert [image["state"] for image in portal.get("/api/v1/images", token).json()["items"]] == ["ready"]


def test_a_second_run_says_so_and_changes_nothing(portal: Portal) -> None:
    before = {path: path.read_bytes() for path in portal.state.glob("*.json")}
    pids = portal.supervisor.pids()

    answer = portal.up()

    assert answer.returncode == 0
    assert "Already running" in answer.stdout
    assert {path: path.read_bytes() for path in portal.state.glob("*.json")} == before
    assert portal.supervisor.pids() == pids


def test_manage_reaches_the_state_it_is_given(portal: Portal) -> None:
    answer = portal.manage("shell", "-v0", "-c", "from django.conf import settings; print(settings.INSTALLATION_ID)")

    assert answer.stdout.strip() == portal.installation.id


def test_a_port_in_use_is_named_before_anything_starts(portals: tuple[Portal, Portal], portal: Portal) -> None:
    answer = portals[1].up("--port", str(portal.port))

    assert answer.returncode == 1
    assert f"Port {portal.port} on 127.0.0.1 is in use" in answer.stderr
    assert not portals[1].installation.secrets_file.exists()


@pytest.mark.parametrize("name", ["watcher", "worker", "beat", "console", "web", "redis"])
def test_a_process_that_is_killed_comes_back(portal: Portal, name: str) -> None:
    pid = portal.supervisor.pids()[name]

    os.kill(pid, signal.SIGKILL)

    assert await_condition(lambda: portal.supervisor.pids().get(name, pid) != pid, timeout_s=60)
    assert await_condition(portal.is_ready, timeout_s=60, interval_s=0.2), portal.supervisor.troubles()


def test_a_flushed_redis_is_survived(portal: Portal) -> None:
    with redis.Redis(unix_socket_path=str(portal.installation.redis_socket)) as client:
        client.flushall()

        assert await_condition(portal.is_ready, timeout_s=60, interval_s=0.2), portal.get("/readyz").text
        scheduled = await_condition(lambda: client.scard("redbeat::statics") == len(SCHEDULE), timeout_s=120)
        assert scheduled, portal.supervisor.troubles()


def test_nothing_listens_but_the_two_ports_it_names(portal: Portal) -> None:
    options = portal.installation.options

    listening: set[int] = set()
    for pid in portal.supervisor.pids().values():
        top = psutil.Process(pid)
        for process in (top, *top.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # a child that has just ended listens no more
                open_lines = process.net_connections("tcp")
                listening |= {line.laddr.port for line in open_lines if line.status == psutil.CONN_LISTEN}

    assert listening == {options.port, options.console_port}


def test_two_portals_side_by_side_and_ctrl_c_stops_only_its_own(portals: tuple[Portal, Portal], portal: Portal) -> None:
    other = portals[1]
    foreground = subprocess.Popen(
        other.command(), env=persons_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert foreground.stdout
        lines = list(iter(lambda: foreground.stdout.readline(), "Ctrl-C stops the portal; guests go on.\n"))
        assert any(f"http://127.0.0.1:{other.port}" in line for line in lines)
        assert portal.is_ready()
        pids = other.supervisor.pids()

        os.killpg(foreground.pid, signal.SIGINT)

        assert foreground.wait(timeout=120) == 0
        assert not any(psutil.pid_exists(pid) for pid in pids.values())
        assert portal.is_ready()
    finally:
        foreground.kill()
        foreground.wait()


def test_down_stops_everything_and_up_brings_the_same_portal_back(portal: Portal) -> None:
    first_run, pids = portal.first_run, portal.supervisor.pids()

    answer = portal.down()

    assert answer.returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
    assert portal.up().returncode == 0
    assert portal.first_run == first_run
    assert portal.get("/api/v1/me", first_run["operator"]["token"]).status_code == 200
