"""The processes of a portal under supervisord: who they are, in which order they start and stop, how they are asked."""

from __future__ import annotations

import configparser
import io
import os
import shlex
import shutil
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from launcher.installation import ROOT, Installation, Unusable

BIN = Path(sys.executable).parent
RETRY_FOR_EVER = 1_000_000
WORKER = ("--concurrency", "3")
"""A host of its own runs no more at once (``LANE_WIDTH``), and long work takes two (``LONG_AT_ONCE``). Each takes 35 MiB."""


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process. Lower ``priority`` starts earlier and stops later; ``stop_s`` is its grace on SIGTERM."""

    name: str
    command: tuple[str, ...]
    priority: int
    stop_s: int
    starts_alone: bool = False
    stops_as_group: bool = False


def programs(installation: Installation) -> list[Program]:
    """What a portal consists of, first to start first. Everything but Redis waits for the database to be migrated."""
    options = installation.options
    module, manage = (str(BIN / "python"), "-m"), (str(BIN / "python"), str(ROOT / "manage.py"))
    web = (
        str(BIN / "uvicorn"), "portal.asgi:application",
        "--host", options.bind, "--port", str(options.port),
        "--lifespan", "off", "--no-server-header", "--no-access-log", "--log-level", "warning",
        "--no-proxy-headers", "--timeout-graceful-shutdown", "5",
        "--ws", "websockets-sansio", "--ws-max-size", "65536",
    )  # fmt: skip
    redis = [Program("redis", (redis_server(), str(redis_config(installation))), 10, 10, starts_alone=True)]
    return [
        *(redis if installation.has_own_redis else []),
        Program("watcher", (*manage, "watch_hosts"), 20, 15),
        Program(
            "worker", (*module, "portal.worker", *WORKER, "--hostname", f"worker-{installation.id[:8]}@%h"), 30, 60
        ),
        Program("beat", (*module, "portal.beat"), 40, 10),
        Program("console", (*manage, "console_proxy"), 50, 10, stops_as_group=True),
        Program("web", web, 60, 15),
    ]


def redis_server() -> str:
    """The path of redis-server, or of valkey-server where the distribution has moved on."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise Unusable("Neither redis-server nor valkey-server is installed")
    return found


def redis_config(installation: Installation) -> Path:
    return installation.state / "redis.conf"


def write_redis_config(installation: Installation) -> None:
    """A Redis that only this user reaches and that keeps nothing: the database is the truth, messages are doorbells."""
    redis_config(installation).write_text(
        f"port 0\nunixsocket {installation.redis_socket}\nunixsocketperm 700\n"
        'daemonize no\nsave ""\nappendonly no\n'
        f"dir {installation.state}\nmaxmemory 256mb\nmaxmemory-policy noeviction\n"
    )


def supervisor_config(installation: Installation, supervised: Sequence[Program]) -> str:
    """The text of ``supervisord.conf``. The environment is inherited, so that no secret stands in this file."""
    config = configparser.RawConfigParser()
    # No value needs supervisord's own %(…)s, so that each % stands for itself and is doubled at the end.
    config["unix_http_server"] = {"file": str(socket_path(installation)), "chmod": "0700"}
    config["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    config["supervisord"] = {
        "logfile": str(installation.log_dir / "supervisord.log"),
        "logfile_maxbytes": "10MB",
        "logfile_backups": "3",
        "pidfile": str(installation.state / "supervisord.pid"),
        "identifier": f"guesthouse-{installation.id[:8]}",
        "directory": str(ROOT),
        "childlogdir": str(installation.log_dir),
        "umask": "022",
        **({"user": "root"} if os.geteuid() == 0 else {}),
    }
    for program in supervised:
        config[f"program:{program.name}"] = {
            # Without its supervisor a process would hold its port and socket for ever, so the kernel ends it then.
            "command": shlex.join(("setpriv", "--pdeathsig", "TERM", *program.command)),
            "priority": str(program.priority),
            "autostart": str(program.starts_alone).lower(),
            "autorestart": "true",
            "startsecs": "2",
            "startretries": str(RETRY_FOR_EVER),
            "stopsignal": "TERM",
            "stopwaitsecs": str(program.stop_s),
            "stopasgroup": str(program.stops_as_group).lower(),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(log_file(installation, program.name)),
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": "5",
        }
    text = io.StringIO()
    config.write(text)
    return text.getvalue().replace("%", "%%")


def socket_path(installation: Installation) -> Path:
    return installation.run_dir / "supervisor.sock"


def log_file(installation: Installation, name: str) -> Path:
    return installation.log_dir / f"{name}.log"


def await_condition(condition: Callable[[], bool], *, timeout_s: float, interval_s: float = 0.05) -> bool:
    """Ask until ``condition`` holds or ``timeout_s`` seconds are over; say whether it held."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval_s)
    return True


class Supervisor:
    """The supervisord of one portal, running or not."""

    def __init__(
        self, installation: Installation, programs: Callable[[Installation], list[Program]] = programs
    ) -> None:
        self.installation = installation
        self._programs = programs

    def is_running(self) -> bool:
        if not self.installation.secrets_file.exists():
            return False
        try:
            self._ask("supervisor.getState")
        except OSError:
            return False
        return True

    def start(self) -> None:
        """Start supervisord, and Redis below it, in the background; raises ``Unusable`` if it does not answer."""
        write_redis_config(self.installation)
        config = self.installation.state / "supervisord.conf"
        config.write_text(supervisor_config(self.installation, self._programs(self.installation)))
        started = subprocess.run(
            [str(BIN / "supervisord"), "-c", str(config)],
            env=self.installation.environment(), cwd=ROOT, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, start_new_session=True,
        )  # fmt: skip
        if started.returncode or not await_condition(self.is_running, timeout_s=10):
            raise Unusable(f"supervisord did not start: {(started.stderr or started.stdout).strip()}")
        if self.installation.has_own_redis and not await_condition(self._redis_answers, timeout_s=15):
            raise Unusable(f"Redis did not start; see {log_file(self.installation, 'redis')}")

    def start_all(self) -> None:
        """Start, in order, what does not run yet; whether each is up shows in ``troubles`` and in ``/readyz``."""
        for process in sorted(self._ask("supervisor.getAllProcessInfo"), key=self._start_order):
            if process["statename"] in ("STOPPED", "EXITED", "FATAL"):
                self._ask("supervisor.startProcess", process["name"], False)

    def pids(self) -> dict[str, int]:
        """The process id of each program that runs now; empty when nothing does."""
        try:
            return {
                process["name"]: process["pid"]
                for process in self._ask("supervisor.getAllProcessInfo")
                if process["pid"]
            }
        except OSError:
            return {}

    def troubles(self) -> list[str]:
        """One line for each process that does not run, with the last line it logged."""
        lines = []
        for process in self._ask("supervisor.getAllProcessInfo"):
            if process["statename"] not in ("RUNNING", "STARTING"):
                log = log_file(self.installation, process["name"])
                last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
                lines.append(
                    f"{process['name']} is {process['statename'].lower()}: {' '.join(last) or 'it said nothing'}"
                )
        return lines

    def stop(self) -> None:
        """Stop every process, last started first, then supervisord; returns when all are gone. Safe to repeat.

        Raises ``Unusable`` when they outlive the sum of their graces.
        """
        try:
            pid = int(self._ask("supervisor.getPID"))
            self._ask("supervisor.shutdown")
        except (OSError, xmlrpc.client.Fault):
            return  # not running, or going down already
        grace_s = 10 + sum(program.stop_s + 5 for program in self._programs(self.installation))
        if not await_condition(lambda: not is_alive(pid), timeout_s=grace_s):
            raise Unusable(f"supervisord (process {pid}) has not stopped after {grace_s} s")

    def _start_order(self, process: dict[str, Any]) -> int:
        order = {program.name: program.priority for program in self._programs(self.installation)}
        return order.get(process["name"], 999)

    def _redis_answers(self) -> bool:
        return self.installation.redis_socket.is_socket() and self._state_of("redis") in ("RUNNING", "STARTING")

    def _state_of(self, name: str) -> str:
        return str(self._ask("supervisor.getProcessInfo", name)["statename"])

    def _ask(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{socket_path(self.installation)}")
        with xmlrpc.client.ServerProxy("http://supervisor", transport=transport) as server:
            return getattr(server, method)(*arguments)


def is_alive(pid: int) -> bool:
    """Whether a process is there and has not merely left its exit code behind."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
