"""The store's tool, restic: one repository a tenant, encrypted under a key of its own, deduplicated inside.

Every call is a process that ends with ours. The repository's password goes through a pipe and the store's credentials through the
environment, so that no process list, file or log shows them.
Source: https://restic.readthedocs.io/en/v0.14.0/075_scripting.html
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

type Tick = Callable[[], None]
"""A sign of life from inside long work; what it raises ends the work."""

_SLICE_S: Final = 0.3


class StoreFailed(Exception):
    """The tool did not do it; ``detail`` is for operators, and holds no secret."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Place:
    """A repository: where, under which password, with which credentials."""

    url: str
    password: str = field(repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Node:
    """A file of a snapshot: bytes, and seconds of its time stamp."""

    size: int
    mtime: int


@dataclass(frozen=True, slots=True)
class Saved:
    """What one save did: the beginning of the snapshot's id, how many files were read and taken over, the bytes that were new."""

    snapshot: str
    read: int
    taken_over: int
    added: int


def nothing() -> None:
    """Nobody waits for a sign of life."""


def ensure(place: Place, *, tick: Tick = nothing) -> None:
    """There is a repository that the password opens; made where there is none. Safe to repeat."""
    try:
        _run(place, "cat", "config", tick=tick)
    except StoreFailed as error:
        if "wrong password" in error.detail or "no key found" in error.detail:
            raise
        _run(place, "init", tick=tick)


def save(place: Place, folder: Path, *, parent: str, host: str, tag: str, tick: Tick = nothing) -> Saved:
    """Save all of ``folder``. A file of the same size and time as in ``parent`` is taken over from there, unread.

    That is the tool's own way to find what has not changed: whoever calls vouches for it, and compares the counts.
    """
    since = ["--parent", parent] if parent else ["--force"]
    said = _run(
        place, "backup", "--json", "--ignore-ctime", "--ignore-inode", *since, "--host", host, "--tag", tag, ".",
        folder=folder, tick=tick,
    )  # fmt: skip
    summary = next((each for each in _lines(said) if each.get("message_type") == "summary"), None)
    if summary is None:
        raise StoreFailed("the tool gave no summary")
    read = int(summary["files_new"]) + int(summary["files_changed"])
    return Saved(str(summary["snapshot_id"]), read, int(summary["files_unmodified"]), int(summary["data_added"]))


def files(place: Place, snapshot: str, *, tick: Tick = nothing) -> dict[str, Node]:
    """The files of a snapshot by their path in the saved folder."""
    found = {}
    for each in _lines(_run(place, "ls", "--json", snapshot, tick=tick)):
        if each.get("type") == "file":
            found[str(each["path"]).lstrip("/")] = Node(int(each.get("size", 0)), _seconds(str(each["mtime"])))
    return found


def snapshots(place: Place, *, tick: Tick = nothing) -> list[str]:
    """The full ids of the repository's snapshots, oldest first."""
    said = _run(place, "snapshots", "--json", tick=tick)
    found = json.loads(said or b"null") or []
    return [str(each["id"]) for each in sorted(found, key=lambda each: str(each["time"]))]


class _Ticking:
    """A pipe that gives a sign of life while nothing comes out of it."""

    def __init__(self, descriptor: int, tick: Tick) -> None:
        self._descriptor, self._tick = descriptor, tick

    def read(self, size: int) -> bytes:
        """``size`` bytes; fewer only at its end."""
        found = bytearray()
        while len(found) < size:
            while not select.select([self._descriptor], [], [], _SLICE_S)[0]:
                self._tick()
            piece = os.read(self._descriptor, size - len(found))
            if not piece:
                break
            found += piece
        return bytes(found)


@contextmanager
def dump(place: Place, snapshot: str, folder: str, *, tick: Tick = nothing) -> Iterator[Any]:
    """A folder of a snapshot as a tar stream; ends with ``StoreFailed`` where it was not whole."""
    with tempfile.TemporaryFile() as errors, _password(place) as (words, descriptor):
        process = _start(
            place,
            ["dump", "--archive", "tar", snapshot, f"/{folder}"],
            words,
            descriptor,
            out=subprocess.PIPE,
            err=errors,
        )
        try:
            assert process.stdout is not None
            stream = _Ticking(process.stdout.fileno(), tick)
            yield stream
            while stream.read(1 << 20):
                continue  # what stands behind the end of the archive
            process.wait()
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        _judge("dump", process.returncode, errors)


def keep_only(place: Place, wanted: Sequence[str], *, tick: Tick = nothing) -> None:
    """Forget every other snapshot, and free what only they held. Safe to repeat; nobody else may be using the repository."""
    try:
        _keep_only(place, wanted, tick)
    except StoreFailed as error:
        if "locked" not in error.detail:
            raise
        _run(place, "unlock", tick=tick)  # by processes that are dead, and no others
        _keep_only(place, wanted, tick)


def _keep_only(place: Place, wanted: Sequence[str], tick: Tick) -> None:
    going = [each for each in snapshots(place, tick=tick) if not each.startswith(tuple(wanted))]
    if going:
        _run(place, "forget", "--prune", *going, tick=tick)
    else:
        _run(place, "prune", tick=tick)


def size(place: Place, *, tick: Tick = nothing) -> int:
    """How many bytes the snapshots take in the store; there is one at least."""
    return int(json.loads(_run(place, "stats", "--mode", "raw-data", "--json", tick=tick))["total_size"])


def is_folder(place: Place) -> bool:
    """Is it a folder, so that it can be removed as a whole?"""
    return place.url.startswith("/")


def put_aside(place: Place) -> None:
    """Take a repository that is a folder off its place in one step; missing is fine. Raises ``StoreFailed``."""
    remove_aside(place)
    try:
        if Path(place.url).exists():
            Path(place.url).rename(_aside(place))
    except OSError as error:
        raise StoreFailed(f"put aside: {error}") from error


def remove_aside(place: Place) -> None:
    """Delete what was put aside, with all that is in it; missing is fine. Raises ``StoreFailed``."""
    try:
        if _aside(place).exists():
            shutil.rmtree(_aside(place))
    except OSError as error:
        raise StoreFailed(f"remove: {error}") from error


def _aside(place: Place) -> Path:
    return Path(f"{place.url}.gone")


def _run(place: Place, *arguments: str, folder: Path | None = None, tick: Tick) -> bytes:
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors, _password(place) as (words, descriptor):
        process = _start(place, list(arguments), words, descriptor, out=said, err=errors, folder=folder)
        try:
            while process.poll() is None:
                tick()
                try:
                    process.wait(timeout=_SLICE_S)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()
        _judge(arguments[0], process.returncode, errors)
        said.seek(0)
        return said.read()


def _start(
    place: Place,
    arguments: list[str],
    words: list[str],
    descriptor: int,
    *,
    out: Any,
    err: Any,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", **place.environment}
    command = ["setpriv", "--pdeathsig", "KILL", "restic", "--no-cache", "--repo", place.url, *words, *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=folder or "/",
        pass_fds=[descriptor], start_new_session=True,
    )  # fmt: skip


@contextmanager
def _password(place: Place) -> Iterator[tuple[list[str], int]]:
    """The words that name a pipe with the password in it, and its end to hand on."""
    read, write = os.pipe()
    try:
        os.write(write, place.password.encode())
        os.close(write)
        yield ["--password-file", f"/dev/fd/{read}"], read
    finally:
        os.close(read)


def _judge(verb: str, status: int, errors: Any) -> None:
    if status:
        errors.seek(0)
        raise StoreFailed(f"{verb}: {errors.read().decode(errors='replace').strip()[-1000:] or f'status {status}'}")


def _lines(said: bytes) -> Iterator[dict[str, Any]]:
    for line in said.splitlines():
        if line.startswith(b"{"):
            yield json.loads(line)


def _seconds(stamp: str) -> int:
    """Whole seconds of a time stamp as the tool writes it; ours have no fractions."""
    return int(datetime.fromisoformat(stamp).timestamp())
