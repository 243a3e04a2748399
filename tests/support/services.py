"""A pytest plugin that gives the suite its own PostgreSQL and Redis, before Django reads where they are.

One PostgreSQL cluster serves all workers of a run, each in a database of its own; every test process has its own Redis.
Both listen on unix sockets only and end with the process that started them, however it ends. A DATABASE_URL or
REDIS_URL given from outside is used as it is.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.installation import new_secrets, write_private
from launcher.processes import await_condition, redis_server

START_TIMEOUT_S = 30
PLACE = Path("/var/tmp")
PREFIX = "ghtest-"
ABANDONED_AFTER_S = 60
_OURS = "GUESTHOUSE_TEST_OWNS"


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Runs around pytest-django's own hook, which imports settings."""
    # A run that is told to end takes down what its fixtures brought up, as it does on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not early_config.known_args_namespace.help and not early_config.known_args_namespace.version:
        early_config.add_cleanup(provide().close)
    return (yield)


def provide() -> contextlib.ExitStack:
    """Start what the environment does not name yet and name it there; closing the result stops it again."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    inherited = set(filter(None, os.environ.get(_OURS, "").split(",")))
    directory = stack.enter_context(private_directory())
    if "DATABASE_URL" not in os.environ:
        os.environ["DATABASE_URL"] = stack.enter_context(postgresql())
        inherited.add("DATABASE_URL")
    if "REDIS_URL" not in os.environ or "REDIS_URL" in inherited:
        os.environ["REDIS_URL"] = stack.enter_context(redis(directory))
        inherited.add("REDIS_URL")
    os.environ[_OURS] = ",".join(sorted(inherited))
    os.environ["GUESTHOUSE_STATE"] = str(directory)
    (directory / "static").mkdir()
    os.environ["GUESTHOUSE_SECRET_FILE"] = str(directory / "secrets.json")
    os.environ["GUESTHOUSE_DATA_DIR"] = str(directory / "data")
    os.environ["GUESTHOUSE_RUN_DIR"] = str(directory / "run")
    write_private(directory / "secrets.json", new_secrets())
    return stack


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A short directory (sockets' paths end at 107 bytes) that others may pass through, removed afterwards.

    Whoever was killed could not remove theirs: a lock on it says that its owner lives, and the next one sweeps.
    """
    for other in PLACE.glob(f"{PREFIX}*"):
        remove_if_abandoned(other)
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PLACE))
    directory.chmod(0o711)
    handle = os.open(directory, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(handle)


def remove_if_abandoned(directory: Path) -> None:
    """Remove a directory whose owner is gone; a fresh one may not be locked yet and is left alone."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError):
        if time.time() - directory.stat().st_mtime < ABANDONED_AFTER_S:
            return
        handle = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(handle)


@contextlib.contextmanager
def redis(directory: Path) -> Iterator[str]:
    """A Redis that keeps nothing, on a socket in ``directory``; gives its address."""
    address = directory / "redis.sock"
    command = [
        redis_server(), "--port", "0", "--unixsocket", str(address), "--save", "", "--appendonly", "no",
        "--dir", str(directory),
    ]  # fmt: skip
    with child(command, log=directory / "redis.log", signal_name="TERM"):
        require(lambda: address.is_socket(), directory / "redis.log")
        yield f"unix://{address}"


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL cluster that fears no power cut, on a socket of its own; gives the address of its first database."""
    with private_directory() as directory:
        initialise_postgresql(directory)
        log = directory / "postgresql.log"
        careless = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        with child(postgresql_server(directory, **careless), log=log, signal_name="INT"):
            require(lambda: "ready to accept connections" in log.read_text(errors="replace"), log)
            yield f"postgres://guesthouse@/{directory}/postgres"


def initialise_postgresql(directory: Path) -> None:
    """Make an empty cluster in ``directory``, which then belongs to whoever the server runs as."""
    options = ["-U", "guesthouse", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
    command = [
        *_as_user(own_directory(directory)),
        postgresql_programs() / "initdb",
        "-D",
        directory / "data",
        *options,
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=directory)


def postgresql_server(directory: Path, **changes: str) -> list[str | Path]:
    """The command that serves the cluster in ``directory`` on a socket there."""
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(directory),
        "max_connections": "300",
        "shared_buffers": "64MB",
        "autovacuum": "off",
        **changes,
    }
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    leash = _as_user(own_directory(directory)) or ["setpriv"]
    return [
        leash[0],
        "--pdeathsig",
        "INT",
        *leash[1:],
        postgresql_programs() / "postgres",
        "-D",
        directory / "data",
        *options,
    ]


def _as_user(user: str | None) -> list[str | Path]:
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []


def own_directory(directory: Path) -> str | None:
    """PostgreSQL refuses to run as root: give ``directory`` to the package's user then, and say who that is."""
    if os.geteuid() != 0:
        return None
    shutil.chown(directory, "postgres", "postgres")
    return "postgres"


def postgresql_programs() -> Path:
    """Where the newest installed PostgreSQL server keeps its programs."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    on_path = shutil.which("postgres")
    if on_path is None:
        raise pytest.UsageError("No PostgreSQL server is installed; bin/test installs what the suite needs")
    return Path(on_path).parent


@contextlib.contextmanager
def child(command: list[str | Path], *, log: Path, signal_name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with us: by the kernel's word if need be, else on leaving the context."""
    leashed = command if command[0] == "setpriv" else ["setpriv", "--pdeathsig", signal_name, *command]
    with log.open("wb") as output:
        process = subprocess.Popen(
            leashed, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.Signals[f"SIG{signal_name}"])
        try:
            process.wait(timeout=START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def require(condition: Callable[[], bool], log: Path) -> None:
    if not await_condition(condition, timeout_s=START_TIMEOUT_S, interval_s=0.01):
        raise RuntimeError(f"A service of the suite did not start: {log.read_text(errors='replace')[-2000:]}")
