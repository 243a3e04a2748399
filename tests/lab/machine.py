"""What the lab asks of the machine it runs on: commands, a free network, a lock."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.lab.namespaces import Pid


def free_network(seed: str) -> ipaddress.IPv4Network:
    """A /24 of 10.77.0.0/16 that no address or route of this machine overlaps; ``seed`` says where to start looking."""
    routes = json.loads(run("ip -j -4 route show table all").stdout)
    taken = [ipaddress.ip_network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]
    candidates = list(ipaddress.IPv4Network("10.77.0.0/16").subnets(new_prefix=24))
    start = int(seed, 16) % len(candidates)
    for network in candidates[start:] + candidates[:start]:
        if not any(network.overlaps(other) for other in taken):
            return network
    raise RuntimeError("every /24 of 10.77.0.0/16 is in use on this machine")


def in_net(pid: Pid, command: str) -> None:
    """Run a command in the network namespace of a process."""
    run(f"nsenter -t {pid.number} --net {command}")


def run(
    command: str | list[str], *, check: bool = True, stdin: str = "", timeout_s: float = 30
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; ``CalledProcessError`` carries what it said as a note. A string is split at spaces."""
    argv = command.split() if isinstance(command, str) else command
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=timeout_s)
    if check and done.returncode:
        failed = subprocess.CalledProcessError(done.returncode, argv, done.stdout, done.stderr)
        failed.add_note(f"{done.stdout}{done.stderr}".strip())
        raise failed
    return done


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold an exclusive lock on a directory itself, so that no lock file stays behind."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
