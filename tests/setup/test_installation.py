"""A state directory: made once, remembered, private, and apart from its neighbours."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import installation as module
from launcher.installation import Installation, Options, Unusable
from launcher.manage import split_state


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where disks and sockets go instead of /var/lib and /run."""
    monkeypatch.setattr(module, "DATA_ROOT", tmp_path / "data")
    return tmp_path


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def prepared(place: Path, name: str = "state", **options: object) -> Installation:
    installation = Installation(place / name)
    installation.prepare(Options(port=free_port(), run_root=str(place / "run")).changed(**options))
    return installation


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_made_once_and_are_nobody_elses(place: Path) -> None:
    first = prepared(place)
    secrets = first.secrets_file.read_text()

    prepared(place)

    assert first.secrets_file.read_text() == secrets
    assert mode(first.secrets_file) == 0o600
    assert set(json.loads(secrets)) == {"secret_key", "field_keys", "installation"}


def test_options_are_remembered(place: Path) -> None:
    first = prepared(place, libvirt_uri="qemu+tls://elsewhere/system")

    assert Installation(first.state).options == first.options


def test_qemu_can_pass_through_to_disks_and_sockets_but_not_look_around(place: Path) -> None:
    installation = prepared(place)

    assert mode(installation.data_dir) == mode(installation.data_dir / "pool") == mode(installation.run_dir) == 0o711
    assert mode(installation.run_dir / "guests") == 0o770
    owner = module.qemu_owner()
    assert owner is None or (installation.run_dir / "guests").stat().st_uid == owner[0]


def test_two_portals_share_nothing(place: Path) -> None:
    one, other = prepared(place, "one"), prepared(place, "other")

    ours, theirs = (portal.environment(inherited={}) for portal in (one, other))
    same = {name for name in ours if ours[name] == theirs[name]}
    assert same == {
        "DJANGO_SETTINGS_MODULE",
        "GUESTHOUSE_BIND",
        "GUESTHOUSE_LIBVIRT_URI",
        "GUESTHOUSE_TRUSTED_PROXIES",
        "PYTHONUNBUFFERED",
        "MALLOC_ARENA_MAX",
    }


def test_a_taken_port_is_named(place: Path, taken_port: int) -> None:
    with pytest.raises(Unusable, match=f"Port {taken_port} on 127.0.0.1 is in use"):
        prepared(place, port=taken_port)


def test_consoles_take_the_next_free_port(place: Path, taken_port: int) -> None:
    assert module.free_console_port(Options(port=taken_port - 1)) > taken_port


@pytest.mark.parametrize(
    ("options", "public", "console"),
    [
        ({}, "http://127.0.0.1:8000", "ws://127.0.0.1:8001"),
        ({"bind": "0.0.0.0", "port": 80}, "http://127.0.0.1:80", "ws://127.0.0.1:8001"),
        ({"bind": "::1"}, "http://[::1]:8000", "ws://[::1]:8001"),
        ({"public_url": "http://portal.example.test"}, "http://portal.example.test", "ws://portal.example.test:8001"),
        (
            {"public_url": "https://portal.example.test/"},
            "https://portal.example.test",
            "wss://portal.example.test/console",
        ),
    ],
    ids=["plain", "every address", "IPv6", "named", "behind TLS"],
)
def test_addresses(tmp_path: Path, options: dict[str, object], public: str, console: str) -> None:
    installation = Installation(tmp_path)
    installation.options = Options(console_port=8001).changed(**options)

    assert (installation.public_url, installation.console_url) == (public, console)
    assert installation.is_behind_proxy is public.startswith("https")


def test_our_own_import_path_does_not_leak_into_the_processes(place: Path) -> None:
    inherited = {"PYTHONPATH": "bin/lib", "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin"}
    environment = prepared(place).environment(inherited=inherited)

    assert not environment.keys() & {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    assert environment["PATH"] == "/usr/bin"


@pytest.mark.parametrize(
    ("arguments", "state", "command"),
    [
        (["--state", "x", "audit"], Path("x"), ["audit"]),
        (["--state=x", "audit", "--state", "y"], Path("x"), ["audit", "--state", "y"]),
        (["audit"], module.ROOT / "var", ["audit"]),
    ],
)
def test_manage_takes_its_state_and_leaves_the_rest(arguments: list[str], state: Path, command: list[str]) -> None:
    assert split_state(arguments) == (state, command)
