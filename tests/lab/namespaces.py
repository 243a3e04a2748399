"""Processes in namespaces of their own: starting, entering and ending them; and the cgroups of a host's guests."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

_INIT = Path(__file__).with_name("host_init.sh")
_CGROUPS = Path("/sys/fs/cgroup")
_V1_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")

type Leash = Literal["tied", "free"]


@dataclass(frozen=True, slots=True)
class Pid:
    """A process that cannot be mistaken: its number and its start time in clock ticks since boot."""

    number: int
    started: int

    @classmethod
    def of(cls, number: int) -> Pid:
        """The process that has this number now; raises ``ProcessLookupError`` where there is none."""
        return cls(number, _start_time(number))

    @classmethod
    def read(cls, path: Path) -> Pid | None:
        """What ``write`` left in a file, if that process still lives."""
        try:
            number, started = path.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        pid = cls(int(number), int(started))
        return pid if pid.lives() else None

    def write(self, path: Path) -> None:
        path.write_text(f"{self.number} {self.started}\n")

    def lives(self) -> bool:
        try:
            return _start_time(self.number) == self.started
        except ProcessLookupError:
            return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that has gone is fine."""
        with contextlib.suppress(ProcessLookupError):
            if self.lives():
                os.kill(self.number, number)

    def end(self, number: signal.Signals = signal.SIGKILL, *, timeout_s: float = 30) -> None:
        """Send a signal and wait until the process has gone, with all of its pid namespace where it is the first."""
        try:
            descriptor = os.pidfd_open(self.number)
        except ProcessLookupError:
            return
        try:
            if not self.lives():
                return
            self.send(number)
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            if not poller.poll(timeout_s * 1000):
                raise TimeoutError(f"process {self.number} outlived signal {number.name} by {timeout_s:g} s")
        finally:
            os.close(descriptor)


def _start_time(number: int) -> int:
    """Raises ``ProcessLookupError`` for one that ended, waited for or not."""
    try:
        # The second field, the command, is in parentheses and may hold anything; the start time is the 22nd field.
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(number) from None
    if fields[0] in "ZX":
        raise ProcessLookupError(number)
    return int(fields[19])


class Spawned:
    """A process 1 that waits to be told to go on; see host_init.sh for the other half of the talk."""

    def __init__(self, *, role: str, directory: Path, name: str, leash: Leash, environment: dict[str, str]) -> None:
        self.log = directory / "init.log"
        with self.log.open("ab") as log:
            self._unshare = subprocess.Popen(
                [
                    "unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
                    str(_INIT), "enter", role, str(directory), name, leash,
                ],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                env=os.environ | environment, start_new_session=True, text=True,
            )  # fmt: skip
        self._expect("ready")
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        self.pid = Pid.of(int(children[0]))

    def go(self, address: str = "") -> IO[str]:
        """Let it boot and wait until it is up; a tied process lives as long as the returned pipe is open."""
        pipe = self._unshare.stdin
        assert pipe
        pipe.write(f"go {address}\n")
        pipe.flush()
        self._expect("up")
        return pipe

    def reap(self) -> None:
        """Collect the exit status of an ended process."""
        for pipe in (self._unshare.stdin, self._unshare.stdout):
            if pipe:
                pipe.close()
        self._unshare.wait(timeout=30)

    def _expect(self, word: str) -> None:
        assert self._unshare.stdout
        said = self._unshare.stdout.readline().strip()
        if said != word:
            self._unshare.kill()
            self.reap()
            raise RuntimeError(f"waited for {word!r}, got {said!r}; {self.log} ends:\n{self.log.read_text()[-2000:]}")


def enter(pid: Pid, *, cgroup: Cgroup, argv: list[str]) -> list[str]:
    """The command line that runs ``argv`` in the namespaces and cgroups of a host's process 1."""
    join = 'for f in $1; do echo $$ > "$f"; done; shift; exec "$@"'
    nsenter = ["nsenter", "-t", str(pid.number), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"]
    return ["sh", "-ec", join, "sh", " ".join(map(str, cgroup.join_files())), *nsenter, *argv]


def processes_beside(pid: Pid, command: str) -> list[Pid]:
    """Living processes called ``command`` in the pid namespace of ``pid``, the eldest first.

    Those that ended and were not yet waited for do not count. A fork that is about to become another program does: it
    bears its parent's name, and is younger.
    """
    space = Path(f"/proc/{pid.number}/ns/pid").readlink()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (entry / "comm").read_text().strip() == command and (entry / "ns/pid").readlink() == space:
                found.append(Pid.of(int(entry.name)))
    return sorted(found, key=lambda process: (process.started, process.number))


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A host's place in the control groups: /sys/fs/cgroup/LAB/HOST, or the same in each tree of version 1."""

    lab: str
    host: str

    def make(self) -> list[str]:
        """Make the groups; returns the version 1 controllers in use, nothing under version 2.

        A machine that grants none (a container, say) is fine: the host then has no limits to set, and says so.
        """
        if _is_v2():
            self._make_v2()
            return []
        return [name for name in _V1_CONTROLLERS if self._make_v1(name)]

    def enter(self, pid: Pid) -> None:
        for directory in self._directories():
            (directory / "cgroup.procs").write_text(str(pid.number))

    def join_files(self) -> list[Path]:
        """Where a process writes its number to be counted with the host's own daemons."""
        inner = ((directory / "init", directory) for directory in self._directories())
        return [(init if init.is_dir() else directory) / "cgroup.procs" for init, directory in inner]

    def remove(self) -> None:
        """Remove the groups of a host that has ended, then the lab's if that was the last."""
        for directory in self._directories():
            for nested, _, _ in os.walk(directory, topdown=False):
                Path(nested).rmdir()
            with contextlib.suppress(OSError):
                directory.parent.rmdir()

    def _directories(self) -> list[Path]:
        trees = [_CGROUPS] if _is_v2() else [_CGROUPS / name for name in _V1_CONTROLLERS]
        return [tree / self.lab / self.host for tree in trees if (tree / self.lab / self.host).is_dir()]

    def _make_v1(self, controller: str) -> bool:
        tree = _CGROUPS / controller
        if not os.path.ismount(tree):
            return False
        for directory in (tree / self.lab, tree / self.lab / self.host):
            directory.mkdir(exist_ok=True)
            if controller == "cpuset":  # a new cpuset is empty and takes no process
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (directory / name).write_text((directory.parent / name).read_text())
        return True

    def _make_v2(self) -> None:
        directory = _CGROUPS / self.lab / self.host
        directory.mkdir(parents=True, exist_ok=True)
        for parent in (_CGROUPS, _CGROUPS / self.lab):
            for controller in (parent / "cgroup.controllers").read_text().split():
                with contextlib.suppress(OSError):  # held by version 1, or not ours to give
                    (parent / "cgroup.subtree_control").write_text(f"+{controller}")


def _is_v2() -> bool:
    return (_CGROUPS / "cgroup.controllers").exists()
