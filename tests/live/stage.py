"""A portal of real processes on a PostgreSQL and a Redis of its own, both behind lines that tests can cut, and hosts in memory.

The test's own process has the hosts (``tests.live.line``) and looks into the database itself, past the faulty line.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environ
import redis
from django.core.management import call_command
from django.db import connections

from launcher.installation import ROOT
from launcher.processes import BIN, redis_server
from operations.models import Operation
from operations.states import TERMINAL
from tenants.scoping import every_tenant
from tests.lab.waiting import wait_until
from tests.live.line import Exchange
from tests.setup.test_installation import free_port
from tests.support import services
from tests.support.faults import FaultyLine
from tests.support.postgresql import OwnPostgresql
from tests.vms.reconcile.bench import Bench
from vms.models import Guest

PATIENCE_S = 90.0
"""How long anything may take that is to happen at all, on a busy machine."""
ANSWER_S = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said; ``status`` 0 where the connection broke before it said anything."""

    status: int
    json: Any


class Process:
    """One process of the portal, started again when it dies, as its supervisor would, until a test ends it."""

    def __init__(self, name: str, command: Sequence[str | Path], environment: dict[str, str], directory: Path) -> None:
        self.name, self._command, self._environment = name, ["setpriv", "--pdeathsig", "KILL", *command], environment
        self.log = directory / f"{name}.log"
        self._running: subprocess.Popen[bytes] | None = None
        self._wanted = threading.Event()

    def start(self) -> None:
        self._wanted.set()
        self._run()

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, and wait until it has."""
        assert self._running is not None
        self._wanted.clear()
        self._running.send_signal(number)
        self._running.wait(PATIENCE_S)

    def kill_all(self) -> None:
        """It and its children, at once; safe to repeat."""
        self._wanted.clear()
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait(PATIENCE_S)

    def _run(self) -> None:
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                self._command, env=self._environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        threading.Thread(target=self._mind, args=(self._running,), daemon=True).start()

    def _mind(self, running: subprocess.Popen[bytes]) -> None:
        running.wait()
        if self._wanted.wait(0) and self._running is running:
            self._run()


class Stage:
    """Everything at once; ``bench`` is its tenant, host and image."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open = contextlib.ExitStack()
        database = directory / "pg"
        database.mkdir()
        self.postgresql = OwnPostgresql(database)
        self.postgresql.start()
        self._open.callback(self.postgresql.stop)
        (directory / "line").mkdir()
        self.database_line = FaultyLine(self.postgresql.socket, address=directory / "line" / ".s.PGSQL.5432")
        self._open.callback(self.database_line.close)
        self._redis = contextlib.ExitStack()
        self._open.push(self._redis)
        self.redis_process: subprocess.Popen[bytes] = self.start_redis()
        self.redis_line = FaultyLine(self.redis_socket)
        self._open.callback(self.redis_line.close)
        self._open.callback(Exchange(directory / "exchange").close)
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.live.settings",
            "DATABASE_URL": f"postgres://guesthouse@/{directory / 'line'}/postgres",
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_line.port}/0",
            "GUESTHOUSE_TEST_EXCHANGE": str(directory / "exchange"),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'bin' / 'lib'}",
        }
        self.port = free_port()
        self.web = self._process(
            "web", BIN / "uvicorn", "portal.asgi:application", "--host", "127.0.0.1", "--port", str(self.port),
            "--lifespan", "off", "--no-access-log", "--log-level", "warning", "--ws", "websockets-sansio",
        )  # fmt: skip
        self.worker = self._process("worker", sys.executable, "-m", "tests.live.worker", "--concurrency", "3")
        self.beat = self._process("beat", sys.executable, "-m", "tests.live.beat")
        self.bench: Bench

    def _process(self, name: str, *command: str | Path) -> Process:
        process = Process(name, command, self._environment, self.directory)
        self._open.callback(process.kill_all)
        return process

    # --- setting up and putting away ----------------------------------------------------------------------------------
    def close(self) -> None:
        self._open.close()

    def begin(self) -> None:
        """Rows and processes; inside ``looking_in``."""
        call_command("migrate", verbosity=0)
        self.bench = Bench(self.directory)
        self.bench.host.pool.suspect_after_s, self.bench.host.pool.down_after_s = 30000, 30001  # there is no watcher
        self.bench.host.pool.save()
        for process in (self.web, self.worker, self.beat):
            process.start()
        self.await_web()

    @contextlib.contextmanager
    def looking_in(self) -> Iterator[None]:
        """The test's own process in the stage's database, by the straight way."""
        usual = connections.settings["default"]
        kept = connections["default"]
        there = environ.Env.db_url_config(self.postgresql.url)
        connections.settings["default"] = {**usual, **there, "OPTIONS": {}}
        del connections["default"]
        try:
            yield
        finally:
            connections["default"].close()
            connections.settings["default"] = usual
            connections["default"] = kept

    def await_web(self) -> None:
        def answers() -> bool:
            return self.ask("GET", "/healthz").status == 200

        wait_until(answers, timeout_s=PATIENCE_S, what=f"the web process: {self.web.log.read_text()[-2000:]}")

    # --- Redis --------------------------------------------------------------------------------------------------------
    @property
    def redis_socket(self) -> Path:
        return self.directory / "redis.sock"

    def start_redis(self) -> subprocess.Popen[bytes]:
        self.redis_socket.unlink(missing_ok=True)
        log = self.directory / "redis.log"
        command = [
            redis_server(), "--port", "0", "--unixsocket", str(self.redis_socket), "--save", "", "--appendonly", "no",
            "--dir", str(self.directory), "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        self.redis_process = self._redis.enter_context(services.child(command, log=log, signal_name="KILL"))
        services.require(self.redis_socket.is_socket, log)
        return self.redis_process

    def redis(self) -> redis.Redis:
        """The test's own connection, by the straight way."""
        return redis.Redis(unix_socket_path=str(self.redis_socket))

    # --- asking -------------------------------------------------------------------------------------------------------
    def ask(self, method: str, path: str, body: Any = None, *, key: str = "", timeout_s: float = ANSWER_S) -> Answer:
        """One request to the web process; ``path`` below the tenant unless it is absolute."""
        url = path if path.startswith("/") else f"{self.bench.house.url}/{path}"
        headers = {"Content-Type": "application/json"}
        if not path.startswith("/"):
            headers["Authorization"] = f"Bearer {self.bench.house.token}"
        if key:
            headers["Idempotency-Key"] = key
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            line.request(method, url, json.dumps(body) if body is not None else None, headers)
            answer = line.getresponse()
            text = answer.read()
        except (ConnectionError, http.client.BadStatusLine):
            return Answer(0, None)
        finally:
            line.close()
        return Answer(answer.status, json.loads(text) if text else None)

    def create(self, name: str, *, key: str = "", timeout_s: float = ANSWER_S) -> Answer:
        """Ask for a machine."""
        body = {"name": name, "flavor": self.bench.flavor.name, "image": self.bench.image.name}
        return self.ask("POST", "guests", body, key=key, timeout_s=timeout_s)

    def look_again(self) -> None:
        """After the database has ended all sessions, the test's own too."""
        connections["default"].close()

    # --- waiting and judging --------------------------------------------------------------------------------------------
    def await_all_over(self, ids: Sequence[str] = ()) -> None:
        """Wait until no operation is live any more; those of ``ids`` are known."""

        self.look_again()

        def over() -> bool:
            return not Operation.objects.exclude(status__in=TERMINAL).exists()

        try:
            wait_until(over, timeout_s=PATIENCE_S, what="all operations to end")
        except TimeoutError as error:
            live = [f"{o} {o.status} {o.attempts} {o.step}" for o in Operation.objects.exclude(status__in=TERMINAL)]
            raise AssertionError(f"still live: {live}\n{self.worker.log.read_text()[-4000:]}") from error
        assert Operation.objects.filter(pk__in=ids).count() == len(set(ids)), "an acknowledged operation is lost"

    def assert_sound(self, ids: Sequence[str] = (), *, failed: int = 0) -> None:
        """The oracle, once everything is over; of the operations ``ids`` exactly ``failed`` have failed."""
        self.await_all_over(ids)
        wrong = [
            f"{o} {o.error_code}: {o.error_detail}"
            for o in Operation.objects.filter(pk__in=ids).exclude(status="succeeded")
        ]
        assert len(wrong) == failed, wrong
        findings = self.bench.findings()
        assert not findings, findings

    def clear(self) -> None:
        """No machines any more, and nothing live."""
        with every_tenant(why="test"):
            guests = [str(pk) for pk in Guest.objects.values_list("pk", flat=True)]
        for pk in guests:
            self._purge(pk)
        self.await_all_over()
        with every_tenant(why="test"):
            left = list(Guest.objects.values_list("name", "problem_message"))
        assert not left, left

    def _purge(self, pk: str) -> None:
        """Have the machine ``pk`` deleted for good; what the portal said last stands in the error when it is not."""
        said: list[Answer] = []

        def accepted() -> bool:
            said[:] = [self.ask("DELETE", f"guests/{pk}?purge=true")]
            return said[0].status in (202, 404)

        try:
            wait_until(accepted, timeout_s=PATIENCE_S, what="a purge to be accepted")
        except TimeoutError as error:
            raise AssertionError(f"no purge was accepted: {said}\n{self.worker.log.read_text()[-4000:]}") from error

    def meanwhile(self, verb: str, act: Callable[[], None], *, at: int = 1) -> Callable[[], None]:
        """Have the ``at``-th call of ``verb`` wait while ``act`` is done; call the result to do it."""
        release = self.bench.on_host.hang(verb, at=at)
        before = self.bench.on_host.calls[verb]

        def go() -> None:
            wait_until(
                lambda: self.bench.on_host.calls[verb] >= before + at, timeout_s=PATIENCE_S, what=f"a call of {verb}"
            )
            try:
                act()
            finally:
                release.set()

        return go
