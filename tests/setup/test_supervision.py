"""Processes under a real supervisord: what dies is restarted, what stops stops in order, and nothing outlives it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import installation as module
from launcher.installation import Installation, Options
from launcher.processes import Program, Supervisor, await_condition, is_alive, programs
from tests.setup.test_installation import free_port

STEADY = """
import signal, sys
def end(*_):
    with open("{journal}", "a") as journal: journal.write("{name} ")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("working", flush=True)
while True: signal.pause()
"""


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setattr(module, "DATA_ROOT", tmp_path / "data")
    installation = Installation(tmp_path / "state")
    installation.prepare(Options(port=free_port(), run_root=str(tmp_path / "run")))
    return installation


@pytest.fixture
def supervisor(installation: Installation) -> Iterator[Supervisor]:
    """Redis and two steady programs, "first" and "second"."""

    def steady(installation: Installation) -> list[Program]:
        redis = programs(installation)[0]
        return [redis, *(program(installation, name, priority) for name, priority in (("first", 20), ("second", 30)))]

    supervisor = Supervisor(installation, steady)
    yield supervisor
    supervisor.stop()


def program(installation: Installation, name: str, priority: int) -> Program:
    """A program that notes in the state's ``journal`` that it was asked to stop."""
    script = installation.state / f"{name}.py"
    script.write_text(STEADY.format(name=name, journal=installation.state / "journal"))
    return Program(name, (sys.executable, str(script)), priority, stop_s=5)


def started(supervisor: Supervisor) -> dict[str, int]:
    """Start everything; the process ids by name once each has said that it works."""

    def all_work() -> bool:
        logs = (supervisor.installation.log_dir / f"{name}.log" for name in ("first", "second"))
        return len(supervisor.pids()) == 3 and all(log.exists() and "working" in log.read_text() for log in logs)

    supervisor.start()
    supervisor.start_all()
    assert await_condition(all_work, timeout_s=60)
    return supervisor.pids()


def test_what_dies_is_restarted(supervisor: Supervisor) -> None:
    before = started(supervisor)

    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def all_new() -> bool:
        after = supervisor.pids()
        return set(after) == set(before) and not set(after.values()) & set(before.values())

    assert await_condition(all_new, timeout_s=60)
    assert await_condition(lambda: not supervisor.troubles(), timeout_s=60)


def test_the_last_started_stops_first_and_redis_last(supervisor: Supervisor) -> None:
    processes = started(supervisor)

    supervisor.stop()

    assert (supervisor.installation.state / "journal").read_text().split() == ["second", "first"]
    assert not any(map(is_alive, processes.values()))
    assert not supervisor.is_running()


def test_stopping_what_does_not_run_changes_nothing(supervisor: Supervisor) -> None:
    supervisor.stop()

    assert not supervisor.is_running()


def test_nothing_outlives_a_killed_supervisor(supervisor: Supervisor) -> None:
    processes = started(supervisor)

    os.kill(int((supervisor.installation.state / "supervisord.pid").read_text()), signal.SIGKILL)

    assert await_condition(lambda: not any(map(is_alive, processes.values())), timeout_s=60)
    assert set(started(supervisor)) == set(processes)


def test_a_process_that_cannot_start_is_named_with_its_last_words(installation: Installation) -> None:
    failing = Program("web", (sys.executable, "-c", "raise SystemExit('no such table')"), 20, stop_s=1)
    supervisor = Supervisor(installation, lambda portal: [programs(portal)[0], failing])
    try:
        supervisor.start()
        supervisor.start_all()

        assert await_condition(lambda: "no such table" in " ".join(supervisor.troubles()), timeout_s=60)
    finally:
        supervisor.stop()


def test_secrets_stand_in_no_process_list_and_no_configuration(supervisor: Supervisor) -> None:
    processes = started(supervisor)
    secret = supervisor.installation.secrets_file.read_text().split('"')[3]

    arguments = [Path(f"/proc/{pid}/cmdline").read_text() for pid in processes.values()]

    assert not any(secret in text for text in arguments)
    assert secret not in (supervisor.installation.state / "supervisord.conf").read_text()


def test_the_portal_consists_of_what_the_contract_names(installation: Installation) -> None:
    names = [program.name for program in programs(installation)]

    assert names == ["redis", "watcher", "worker", "beat", "console", "web"]
    installation.options = installation.options.changed(redis_url="redis://elsewhere:6379/0")
    assert "redis" not in [program.name for program in programs(installation)]


def test_waiting_gives_up_at_its_deadline() -> None:
    started_at = time.monotonic()

    assert not await_condition(lambda: False, timeout_s=0.1, interval_s=0.01)
    assert time.monotonic() - started_at < 5
