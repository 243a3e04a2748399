"""What keeps guests from running well on this machine: found, said, and mended where that is ours to do."""

from __future__ import annotations

import grp
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.installation import Installation
from launcher.processes import await_condition

OWN_URIS = ("qemu:///system",)
ANSWER_TIMEOUT_S = 10
START_TIMEOUT_S = 30
SCARCE_DISK_GIB = 10
SCARCE_MEMORY_MIB = 2048
MODULAR_SOCKETS = (
    "virtlogd",
    "virtqemud",
    "virtnetworkd",
    "virtstoraged",
    "virtnwfilterd",
    "virtnodedevd",
    "virtsecretd",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about this machine: a sentence, and whether it is as it should be now."""

    text: str
    mended: bool = False


def examine(installation: Installation) -> Iterator[Finding]:
    """Look at everything that matters to the installation's first host; mends what root may and should mend."""
    if installation.options.libvirt_uri in OWN_URIS:
        yield from kvm_node(Path("/dev/kvm"))
        yield from processor(Path("/proc/cpuinfo").read_text())
        yield from helpers(shutil.which)
        yield from bridged_packets(Path("/proc/sys/net/bridge"))
    yield from memory(Path("/proc/meminfo").read_text())
    yield from disk(installation.data_dir)
    yield from hypervisor(installation.options.libvirt_uri)


def kvm_node(node: Path, group: str = "kvm") -> Iterator[Finding]:
    """``/dev/kvm`` must open for QEMU's user, else libvirt probes QEMU anew at each call."""
    try:
        status = node.stat()
    except FileNotFoundError:
        yield Finding(f"{node} is missing: guests will be emulated, far slower (is the KVM module loaded?)")
        return
    try:
        wanted = grp.getgrnam(group).gr_gid
    except KeyError:
        yield Finding(f"There is no group {group!r}; QEMU's user may not be able to open {node}")
        return
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o006 == 0o006 or (status.st_gid == wanted and mode & 0o060 == 0o060):
        return
    try:
        os.chown(node, -1, wanted)
        node.chmod(0o660)
    except PermissionError:
        yield Finding(f"{node} is mode {mode:04o}: libvirt crawls. As root: chgrp {group} {node} && chmod 0660 {node}")
        return
    yield Finding(f"{node} was mode {mode:04o}, which makes libvirt crawl; it is root:{group} 0660 now", mended=True)


def processor(cpuinfo: str) -> Iterator[Finding]:
    flags = {flag for line in cpuinfo.splitlines() if line.startswith("flags") for flag in line.split()}
    if not flags & {"vmx", "svm"}:
        yield Finding("The processor offers no virtualization (vmx, svm): guests are likely to be emulated")


def helpers(find: Callable[[str], str | None]) -> Iterator[Finding]:
    """The programs libvirt calls; where one is missing, the part that needs it fails later and less clearly."""
    needs = {
        "qemu-system-x86_64": "no guest can start",
        "qemu-img": "no image can be read",
        "dnsmasq": "tenants' networks give no addresses",
        "iptables": "tenants' networks have no way out",
        "ebtables": "guests' traffic cannot be filtered",
    }
    for program, consequence in needs.items():
        if not find(program):
            yield Finding(f"{program} is not installed: {consequence}")


def bridged_packets(folder: Path) -> Iterator[Finding]:
    """Frames that a bridge forwards must run through iptables: there stand the rules of security groups, and others' perhaps."""
    for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
        switch = folder / name
        if switch.exists() and switch.read_text().strip() == "0":
            yield Finding(
                f"net.bridge.{name} is 0, so security groups do not hold and this host takes no machines."
                f" To have them hold: sysctl net.bridge.{name}=1, then test the host"
            )


def memory(meminfo: str) -> Iterator[Finding]:
    available = next(int(line.split()[1]) // 1024 for line in meminfo.splitlines() if line.startswith("MemAvailable:"))
    if available < SCARCE_MEMORY_MIB:
        yield Finding(
            f"Only {available} MiB of memory are available; the portal takes some 400 MiB, guests come on top"
        )


def disk(folder: Path) -> Iterator[Finding]:
    free_gib = shutil.disk_usage(folder).free // 2**30
    if free_gib < SCARCE_DISK_GIB:
        yield Finding(f"Only {free_gib} GiB are free below {folder}, where disks and images live")


def hypervisor(uri: str) -> Iterator[Finding]:
    """libvirtd must answer; this machine's own is started where nobody did."""
    if answers(uri):
        return
    if uri not in OWN_URIS or os.geteuid() != 0:
        yield Finding(f"Nothing answers at {uri} within {ANSWER_TIMEOUT_S} s; the host will be shown as down")
        return
    how = start_libvirtd()
    if await_condition(lambda: answers(uri), timeout_s=START_TIMEOUT_S, interval_s=0.5):
        yield Finding(f"libvirtd was not running; it is now ({how})", mended=True)
    else:
        yield Finding(f"libvirtd does not answer at {uri}, also after: {how}")


def answers(uri: str) -> bool:
    """Whether a libvirt daemon answers at ``uri`` in time; a process asks, which can be killed where a call cannot."""
    try:
        asked = subprocess.run(
            ["virsh", "-q", "-c", uri, "uri"], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=ANSWER_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (subprocess.TimeoutExpired, FileNotFoundError):
        return False
    return asked.returncode == 0


def start_libvirtd() -> str:
    """Start this machine's libvirt the way its init system would; returns what was run, or why nothing could be."""
    if Path("/run/systemd/system").is_dir():
        if unit_exists("libvirtd.service"):
            return run("systemctl", "start", "libvirtd.service")
        return run(
            "systemctl", "start", *(f"{name}.socket" for name in MODULAR_SOCKETS if unit_exists(f"{name}.socket"))
        )
    if not shutil.which("libvirtd"):
        return "libvirtd is not installed"
    ran = [] if runs("virtlogd") else [run("virtlogd", "-d")]
    return "; ".join([*ran, run("libvirtd", "-d")])


def unit_exists(unit: str) -> bool:
    return subprocess.run(["systemctl", "cat", unit], capture_output=True, check=False).returncode == 0


def runs(program: str) -> bool:
    """Whether a process of this name is visible here."""
    names = (path / "comm" for path in Path("/proc").iterdir() if path.name.isdigit())
    return any(read_or_empty(name).strip() == program for name in names)


def read_or_empty(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def run(*command: str) -> str:
    """Run ``command`` apart from our terminal and session, so that what it starts outlives us; returns it as text."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, start_new_session=True
    )
    said = (done.stderr or done.stdout).strip()
    return (
        " ".join(command) if done.returncode == 0 else f"{' '.join(command)}: {said or f'exit code {done.returncode}'}"
    )
