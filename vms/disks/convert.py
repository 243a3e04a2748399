"""Turn an image that strangers made into a clean qcow2 of our own, in a child process that has little to lose.

The child has limits on memory, processor time and file size, no network, and, where we are root, no rights: it runs as
nobody in a mount namespace where it can reach the source, read-only, and one empty directory. It is killed at the
deadline. What it wrote is inspected again, because a subverted child could have written anything.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from vms.disks.errors import ConversionFailed, UnsafeImage
from vms.disks.inspect import Format, Inspected, inspect
from vms.disks.inspect import Limits as ImageLimits

_SANDBOX_USER = "nobody"
_PROGRESS = re.compile(rb"\((\d+\.\d+)/100%\)")
# Metadata of a qcow2 takes less than a thousandth of its disk; the rest is room for small ones.
_OVERHEAD_SHARE, _OVERHEAD_BYTES = 0.01, 16 * 1024**2
# Each of qemu-img's threads takes a stack and an arena out of the address space, used or not: keep them small.
_STACK_BYTES = 1024**2

# $1 the directory to write to, $2 how many sources follow, the rest the command. /mnt is hidden under a file system of our own,
# where the sources are 0, 1, … The shell stays, as process 1 of its namespace: the kernel spares a process 1 the signals that
# limits are enforced with.
_ENTER_AS_ROOT = """
mount -t tmpfs -o mode=0755,size=64k,nodev,nosuid,noexec tmpfs /mnt
mkdir /mnt/out
mount --bind "$1" /mnt/out
count=$2 number=0
shift 2
while [ "$number" -lt "$count" ]; do
    : > "/mnt/$number"
    mount --bind "$1" "/mnt/$number"
    mount -o remount,bind,ro "/mnt/$number"
    number=$((number + 1))
    shift
done
"$@"
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a conversion may cost: bytes of memory (address space), seconds of processor, seconds in all."""

    memory: int = 1024**3
    cpu_s: int = 1800
    deadline_s: float = 3600
    open_files: int = 64
    image: ImageLimits = field(default_factory=ImageLimits)


def to_qcow2(
    source: Path,
    target: Path,
    *,
    source_format: Format,
    limits: Limits | None = None,
    progress: Callable[[float], None] | None = None,
) -> Inspected:
    """Write the disk in ``source`` to ``target`` as a qcow2 that depends on nothing; returns what was written.

    ``source`` is inspected first and must be of ``source_format``; as root we lend it to nobody while the child reads it.
    ``progress`` gets 0 … 100; what it raises cancels the conversion. A second call writes the same again. Raises
    ``UnsafeImage`` before anything runs, ``ConversionFailed`` after; then nothing is left and ``target`` is as it was.
    """
    return flatten([(source, source_format)], target, limits=limits, progress=progress)


def flatten(
    layers: Sequence[tuple[Path, Format]],
    target: Path,
    *,
    limits: Limits | None = None,
    progress: Callable[[float], None] | None = None,
    packed: bool = False,
) -> Inspected:
    """The same of a disk in several files: topmost first, each over the next, whatever they say themselves.

    Each is inspected as an image is, so none of them may name another file. ``packed`` has what is written compressed, by
    zlib, which every reader of qcow2 knows.
    """
    limits = limits or Limits()
    inspected = [inspect(file, limits=limits.image, declared=format_) for file, format_ in layers]
    seen = inspected[0]
    largest = int(seen.virtual_size * (1 + _OVERHEAD_SHARE)) + _OVERHEAD_BYTES
    target = target.absolute()
    sources = [(file.absolute(), format_) for file, format_ in layers]
    work = Path(tempfile.mkdtemp(prefix=".convert-", dir=target.parent))
    try:
        with ExitStack() as lent:
            for source, _format in sources:
                lent.enter_context(_readable(source, work))
            argv = _argv(sources, work, limits=limits, largest=largest, packed=packed)
            _run(argv, deadline_s=limits.deadline_s, progress=progress)
        made = work / "image"
        written = _accept(made, size=seen.virtual_size, limits=limits)
        os.chown(made, os.geteuid(), os.getegid())
        made.chmod(0o600)
        made.replace(target)
    finally:
        shutil.rmtree(work)
    return written


def grow(file: Path, size: int) -> None:
    """Have a clean qcow2 of ours show a disk of ``size`` bytes, if it is smaller; raises ``ConversionFailed``."""
    if inspect(file, declared="qcow2").virtual_size >= size:
        return
    command = ["qemu-img", "resize", "-q", "-f", "qcow2", str(file), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ConversionFailed("The copy could not be made larger.", detail=done.stderr[-500:])


def _argv(
    sources: Sequence[tuple[Path, Format]], work: Path, *, limits: Limits, largest: int, packed: bool = False
) -> list[str]:
    root = os.geteuid() == 0
    here = [(Path(f"/mnt/{number}") if root else file, format_) for number, (file, format_) in enumerate(sources)]
    made = Path("/mnt/out/image") if root else work / "image"
    qemu_img = [
        "prlimit", f"--as={limits.memory}", f"--cpu={limits.cpu_s}", f"--fsize={largest}",
        f"--nofile={limits.open_files}", f"--stack={_STACK_BYTES}", "--core=0", "--",
        "qemu-img", "convert", "-p", *(["-c"] if packed else []), "-O", "qcow2", "-o", "compat=1.1", _named(here), str(made),
    ]  # fmt: skip
    if not root:
        return [*_without_network(), *qemu_img]
    user = pwd.getpwnam(_SANDBOX_USER)
    powerless = [
        "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--no-new-privs",
        "--bounding-set=-all", "--inh-caps=-all", "--",
    ]  # fmt: skip
    spaces = ["unshare", "--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--"]
    files = [str(file) for file, _format in sources]
    enter = ["sh", "-euc", _ENTER_AS_ROOT, "sh", str(work), str(len(files)), *files]
    return [*spaces, *enter, *powerless, *qemu_img]


def _named(sources: Sequence[tuple[Path, Format]]) -> str:
    """The disk in QEMU's own words: every format said, every file below named, and nothing below the last."""
    disk: dict[str, object] | None = None
    for file, format_ in reversed(sources):
        below = {"backing": disk} if format_ == "qcow2" else {}
        disk = {"driver": format_, "file": {"driver": "file", "filename": str(file)}, **below}
    return "json:" + json.dumps(disk)


@cache
def _without_network() -> tuple[str, ...]:
    """How a user without privilege leaves the network behind; nothing where the machine forbids user namespaces.

    Inspection has refused everything that names another file or host, so this is a second wall, not the only one.
    """
    unshare = ("unshare", "--user", "--map-current-user", "--net", "--")
    tried = subprocess.run([*unshare, "true"], check=False, capture_output=True, timeout=10)
    return unshare if tried.returncode == 0 else ()


@contextmanager
def _readable(source: Path, work: Path) -> Iterator[None]:
    """Give the source and the work directory to the child's user for as long as it runs."""
    if os.geteuid() != 0:
        yield
        return
    user = pwd.getpwnam(_SANDBOX_USER)
    before = source.stat()
    os.chown(work, user.pw_uid, user.pw_gid)
    os.chown(source, user.pw_uid, user.pw_gid)
    source.chmod(0o400)
    try:
        yield
    finally:
        os.chown(source, before.st_uid, before.st_gid)
        source.chmod(before.st_mode & 0o7777)


def _run(argv: list[str], *, deadline_s: float, progress: Callable[[float], None] | None) -> None:
    deadline = time.monotonic() + deadline_s
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True, cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "MALLOC_ARENA_MAX": "1"},
        )  # fmt: skip
        try:
            _follow(process, deadline, progress)
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, TimeoutError):
            raise ConversionFailed(
                f"The image was not converted within {deadline_s:.0f} s.", code="image_too_costly"
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            assert process.stdout
            process.stdout.close()
        errors.seek(0)
        said = errors.read(4000).decode(errors="replace").strip()
    if process.returncode:
        raise _failure(process.returncode, said)


def _follow(process: subprocess.Popen[bytes], deadline: float, progress: Callable[[float], None] | None) -> None:
    """Report progress until the child closes its output; raises ``TimeoutError`` at the deadline."""
    assert process.stdout
    last = -1.0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return
            found = _PROGRESS.findall(data)
            if progress and found and (percent := float(found[-1])) > last:
                last = percent
                progress(percent)


def _failure(status: int, said: str) -> ConversionFailed:
    # A child of unshare or sh that dies by a signal shows as 128 + the signal.
    number = -status if status < 0 else status - 128
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return ConversionFailed("The image took too much processor time.", code="image_too_costly", detail=said)
    if number == signal.SIGXFSZ or "File too large" in said:
        return ConversionFailed("The image unpacks to more than it stated.", code="image_too_large", detail=said)
    if "No space left" in said:
        return ConversionFailed("There is no room to store the image.", code="storage_full", detail=said)
    if said.startswith(("unshare:", "mount:", "setpriv:")):
        return ConversionFailed(
            "This machine does not allow the isolation that a foreign image needs.", code="sandbox_missing", detail=said
        )
    if "allocate memory" in said or "Resource temporarily unavailable" in said:
        return ConversionFailed("The image took too much memory.", code="image_too_costly", detail=said)
    return ConversionFailed("The image is damaged.", detail=said or f"status {status}")


def _accept(made: Path, *, size: int, limits: Limits) -> Inspected:
    try:
        written = inspect(made, limits=limits.image, declared="qcow2")
    except UnsafeImage as error:
        raise ConversionFailed("The conversion gave something that is no clean image.", detail=str(error)) from error
    # A raw file need not end at a sector's border; the disk made of it does.
    if not size <= written.virtual_size < size + 512:
        raise ConversionFailed("The converted disk has another size.", detail=f"{size} → {written.virtual_size}")
    return written
