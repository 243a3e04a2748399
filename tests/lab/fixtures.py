"""Pytest fixtures over the lab: real libvirt hosts, private to one test process, gone with it however it ends."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.fabric import Fabric
from tests.lab.hosts import Host, Lab
from tests.lab.machine import locked
from vms.disks import build as disks

_DISKS = Path(disks.__file__).parent
_PLACE = Path("/var/tmp")
_CACHE = _DISKS.parents[1] / "var" / "test-cache"


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab of this test process's own; ``lab.up(3)`` brings host1 … host3, ``lab.host("host2")`` names one."""
    _sweep()
    lab = Lab(_PLACE / f"ghlab-{os.getpid()}", tied=True)
    try:
        yield lab
    finally:
        lab.down()


def _sweep() -> None:
    """Remove what killed test processes left: their hosts ended with them, their files and cgroups could not."""
    for directory in _PLACE.glob("ghlab-*"):
        maker = directory.name.removeprefix("ghlab-")
        if maker.isdigit() and not Path("/proc", maker).exists():
            with contextlib.suppress(FileNotFoundError):  # another test process is sweeping too
                Lab(directory).down()


@pytest.fixture(scope="session")
def lab_host(lab: Lab) -> Host:
    """host1 of the lab, up. Whoever freezes, kills or unplugs it puts it right again."""
    return lab.up(1)[0]


@pytest.fixture(scope="module")
def fabric(lab: Lab) -> Iterator[Fabric]:
    """OVN over host1 and host2 of the lab, for one file: elsewhere hosts are switched off, and their part of it with them.

    Whoever kills or freezes a part of it puts it right again.
    """
    lab.up(2)
    fabric = Fabric(lab)
    try:
        fabric.up()
        yield fabric
    finally:
        fabric.down()


@pytest.fixture(scope="session")
def tiny_image() -> Path:
    """The tiny image; built once for all test processes of this checkout, and again when its recipe changes."""
    recipe = hashlib.sha256()
    for path in sorted([*_DISKS.glob("*.sh"), *_DISKS.glob("tiny/**/*")]):
        if path.is_file():
            recipe.update(path.read_bytes())
    out = _CACHE / f"tiny-{recipe.hexdigest()[:12]}.qcow2"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with locked(_CACHE):
        if not out.exists():
            for old in _CACHE.glob("tiny-*.qcow2"):
                old.unlink()
            disks.build("tiny", out, cache=_CACHE / "packages")
    return out


@dataclass(frozen=True, slots=True)
class SshKey:
    """A key pair made for one test: the private key's file and the line for authorized_keys."""

    path: Path
    public: str


@pytest.fixture
def ssh_key(tmp_path: Path) -> SshKey:
    path = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "somebody at home", "-f", path], check=True)
    return SshKey(path, path.with_suffix(".pub").read_text().strip())
