"""One portal on this machine: its state directory, secrets and addresses, and the environment its processes get."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import grp
import json
import os
import pwd
import secrets
import socket
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[3]
DATA_ROOT = Path("/var/lib/guesthouse")
SETTINGS_MODULE = "portal.settings.embedded"
CONSOLE_PORTS_TRIED = 50
QEMU_USERS = ("libvirt-qemu", "qemu")
NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")


class Unusable(Exception):
    """The portal cannot be set up like this; the text is a sentence for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a portal was started; remembered in its state, so that a later start needs no options at all."""

    port: int = 8000
    bind: str = "127.0.0.1"
    public_url: str = ""
    libvirt_uri: str = "qemu:///system"
    database_url: str = ""
    redis_url: str = ""
    console_port: int = 0
    run_root: str = "/run/guesthouse"

    def changed(self, **given: object) -> Options:
        """These options with what was ``given``; None stands for not given."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


class Installation:
    """A state directory and what follows from it. Reading one never writes; ``prepare`` does."""

    def __init__(self, state: Path) -> None:
        self.state = state.resolve()
        self.options = self._read_options()

    @property
    def secrets_file(self) -> Path:
        return self.state / "secrets.json"

    @property
    def first_run_file(self) -> Path:
        return self.state / "first-run.json"

    @property
    def log_dir(self) -> Path:
        return self.state / "log"

    @property
    def id(self) -> str:
        """The installation's id, a UUID; it stands in the metadata of everything we make on a host."""
        return str(json.loads(self.secrets_file.read_text())["installation"])

    @property
    def data_dir(self) -> Path:
        """Disks and images; QEMU's user passes through it, so it is not inside the state."""
        return DATA_ROOT / self.id

    @property
    def run_dir(self) -> Path:
        """Sockets; short, because the path of a unix socket ends at 107 bytes."""
        return Path(self.options.run_root) / self.id[:8]

    @property
    def public_url(self) -> str:
        if self.options.public_url:
            return self.options.public_url.rstrip("/")
        host = "127.0.0.1" if self.options.bind in ("0.0.0.0", "::") else self.options.bind
        return f"http://{f'[{host}]' if ':' in host else host}:{self.options.port}"

    @property
    def console_url(self) -> str:
        """Where browsers reach the console proxy: its own port, or ``/console`` behind a proxy that ends TLS."""
        public = urlsplit(self.public_url)
        if public.scheme == "https":
            return f"wss://{public.netloc}/console"
        host = public.hostname or "127.0.0.1"
        return f"ws://{f'[{host}]' if ':' in host else host}:{self.options.console_port}"

    @property
    def is_behind_proxy(self) -> bool:
        """Nobody here ends TLS: an https address means a proxy that does, and that names the visitor's address."""
        return urlsplit(self.public_url).scheme == "https"

    @property
    def has_own_redis(self) -> bool:
        return not self.options.redis_url

    @property
    def redis_socket(self) -> Path:
        return self.run_dir / "redis.sock"

    def environment(self, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The whole environment of a process of this portal: the ``inherited`` one and the contract with settings."""
        bind = f"[{self.options.bind}]" if ":" in self.options.bind else self.options.bind
        contract = {
            "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE,
            "DATABASE_URL": self.options.database_url or f"sqlite:///{self.state / 'db.sqlite3'}",
            "REDIS_URL": self.options.redis_url or f"unix://{self.redis_socket}",
            "GUESTHOUSE_STATE": str(self.state),
            "GUESTHOUSE_SECRET_FILE": str(self.secrets_file),
            "GUESTHOUSE_PUBLIC_URL": self.public_url,
            "GUESTHOUSE_TRUSTED_PROXIES": str(int(self.is_behind_proxy)),
            "GUESTHOUSE_BIND": self.options.bind,
            "GUESTHOUSE_PORT": str(self.options.port),
            "GUESTHOUSE_CONSOLE_BIND": f"{bind}:{self.options.console_port}",
            "GUESTHOUSE_CONSOLE_URL": self.console_url,
            "GUESTHOUSE_DATA_DIR": str(self.data_dir),
            "GUESTHOUSE_RUN_DIR": str(self.run_dir),
            "GUESTHOUSE_LIBVIRT_URI": self.options.libvirt_uri,
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",  # glibc keeps a heap for every thread otherwise
        }
        return {**{name: value for name, value in inherited.items() if name not in NOT_INHERITED}, **contract}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else starts or stops this portal meanwhile; waits for whoever does."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.state / "lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def prepare(self, options: Options) -> None:
        """Make the state, secrets and directories of a portal started with ``options``; safe to repeat.

        Raises ``Unusable`` where a port is taken or a directory cannot be made.
        """
        require_free_port(options.bind, options.port)
        console_port = free_console_port(options)
        self.options = replace(options, console_port=console_port)
        try:
            self.log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_once(self.secrets_file, new_secrets())
            write_private(self.state / "options.json", json.dumps(asdict(self.options), indent=2) + "\n")
            make_directories(self.data_dir, self.run_dir)
        except PermissionError as error:
            raise Unusable(f"{error.filename}: permission denied; run bin/up as root or with sudo") from error

    def _read_options(self) -> Options:
        try:
            return Options(**json.loads((self.state / "options.json").read_text()))
        except FileNotFoundError:
            return Options()


def new_secrets() -> str:
    """The text of a new ``secrets.json``: Django's key, the first key of sealed fields, the installation's id."""
    field_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    values = {
        "secret_key": secrets.token_urlsafe(64),
        "field_keys": [field_key],
        "installation": str(uuid.uuid4()),
    }
    return json.dumps(values, indent=2) + "\n"


def write_private(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, mode 0600, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


def write_once(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, mode 0600, unless the file is there: secrets are made once."""
    if not path.exists():
        write_private(path, text)


def make_directories(data_dir: Path, run_dir: Path) -> None:
    """Make the directories that QEMU's user must pass through, and the one it makes its sockets in."""
    for directory in (data_dir.parent, data_dir, data_dir / "images", data_dir / "pool", run_dir.parent, run_dir):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o711)
    guests = run_dir / "guests"
    guests.mkdir(exist_ok=True)
    owner = qemu_owner()
    if owner is not None:
        os.chown(guests, *owner)
    guests.chmod(0o770)


def qemu_owner() -> tuple[int, int] | None:
    """The user and group libvirt runs guests as, by their names in the distributions; None where there is neither."""
    for name in QEMU_USERS:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, grp.getgrgid(user.pw_gid).gr_gid
    return None


def is_free(bind: str, port: int) -> bool:
    """Whether something could listen on ``bind``:``port`` now."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError:
            return False
    return True


def require_free_port(bind: str, port: int) -> None:
    if not 1 <= port <= 65535:
        raise Unusable(f"{port} is not a port")
    if not is_free(bind, port):
        raise Unusable(f"Port {port} on {bind} is in use or not ours; choose another with --port (or --bind)")


def free_console_port(options: Options) -> int:
    """The console proxy's port: the remembered one, else the next free one after the portal's own."""
    if options.console_port and options.console_port != options.port and is_free(options.bind, options.console_port):
        return options.console_port
    candidates = range(options.port + 1, min(options.port + 1 + CONSOLE_PORTS_TRIED, 65536))
    for port in candidates:
        if is_free(options.bind, port):
            return port
    raise Unusable(f"No port is free for consoles between {options.port + 1} and {options.port + CONSOLE_PORTS_TRIED}")
