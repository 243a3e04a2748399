"""Build bootable images from the machine's own package sources, without the internet's image servers."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vms.disks.errors import BuildFailed
from vms.disks.inspect import inspect

_GRACE_S = 30

type Kind = Literal["tiny", "debian-12"]


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image file and what to tell people of it; sizes in bytes, memory in MiB."""

    path: Path
    format: Literal["raw", "qcow2"]
    virtual_size: int
    size: int
    sha256: str
    name: str
    os_family: str
    os_version: str
    default_user: str
    min_memory_mib: int


@dataclass(frozen=True, slots=True)
class _Recipe:
    script: str
    name: str
    os_family: str
    os_version: str
    default_user: str
    min_memory_mib: int
    timeout_s: float


RECIPES: dict[Kind, _Recipe] = {
    "tiny": _Recipe("tiny.sh", "Guesthouse Tiny Linux", "linux", "1", "root", 96, 900),
    "debian-12": _Recipe("debian12.sh", "Debian 12", "debian", "12", "debian", 384, 5400),
}


def build(kind: Kind, out: Path, *, cache: Path) -> BuiltImage:
    """Write the image to ``out``, replacing what was there; packages are kept in ``cache`` and fetched once.

    ``tiny`` takes some 12 s and no privilege; ``debian-12`` takes minutes and needs root. Both need the commands that
    their scripts name, and apt with working sources. Raises ``BuildFailed``; then ``out`` is as it was.
    """
    recipe = RECIPES[kind]
    cache.mkdir(parents=True, exist_ok=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        _run(Path(__file__).with_name(recipe.script), unfinished, cache, timeout_s=recipe.timeout_s)
        seen = inspect(unfinished, declared="qcow2")
        with unfinished.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return BuiltImage(
        path=out,
        format=seen.format,
        virtual_size=seen.virtual_size,
        size=out.stat().st_size,
        sha256=digest,
        name=recipe.name,
        os_family=recipe.os_family,
        os_version=recipe.os_version,
        default_user=recipe.default_user,
        min_memory_mib=recipe.min_memory_mib,
    )


def _run(script: Path, out: Path, cache: Path, *, timeout_s: float) -> None:
    process = subprocess.Popen(
        [script, out, cache],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise BuildFailed(f"The build took longer than {timeout_s:.0f} s.", detail=script.name) from None
    finally:
        if process.poll() is None:
            _end(process)
    if process.returncode:
        raise BuildFailed("The image could not be built.", detail=said.strip()[-2000:])


def _end(process: subprocess.Popen[str]) -> None:
    """Let the script remove its working directory, but not for ever."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.communicate(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
