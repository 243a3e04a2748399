"""Real guests on a lab host, in plain libvirt XML: for trying images and the lab itself, not the portal's design."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pycdlib

from tests.lab.hosts import Host
from tests.lab.waiting import wait_until

_NETWORK = """
<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'><name>lab</name><forward mode='nat'/>
  <bridge name='lab0' stp='off' delay='0'/>
  <ip address='192.168.199.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.199.100' end='192.168.199.200'/></dhcp></ip>
  <dnsmasq:options><dnsmasq:option value='no-ping'/></dnsmasq:options>
</network>"""

_DOMAIN = """
<domain type='qemu'><name>{name}</name><memory unit='MiB'>{memory_mib}</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='{machine}'>hvm</type></os><features><acpi/><apic/></features>
  <cpu mode='custom'><model>qemu64</model></cpu>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='unsafe'/>
      <source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/>
      <source file='{seed}'/><target dev='vdb' bus='virtio'/><readonly/></disk>
    <interface type='network'><source network='lab'/><model type='virtio'/></interface>
    <serial type='unix'><source mode='bind' path='{serial}'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc'><listen type='socket' socket='{vnc}'/></graphics>
    <video><model type='vga'/></video>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices></domain>"""

_PROMPT = r"[#$] (\x1b\[6n)?$"  # busybox's shell asks the terminal for the cursor's place


class Serial:
    """The line to a guest's serial port, read and written as a person at a terminal does."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._unread = ""
        self.seen = ""

    def read_until(self, pattern: str, *, timeout_s: float) -> str:
        """Read until a regular expression matches what has not been consumed yet; returns up to the match's end."""
        deadline = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self._unread)):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(
                    f"no {pattern!r} on the serial line within {timeout_s:g} s; last: {self.seen[-600:]!r}"
                )
            self._socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                data = self._socket.recv(4096)
                if not data:
                    raise ConnectionError(f"the serial line closed; last: {self.seen[-600:]!r}")
                text = data.decode(errors="replace")
                self._unread += text
                self.seen += text
        text, self._unread = self._unread[: found.end()], self._unread[found.end() :]
        return text

    def type(self, line: str) -> None:
        self._socket.sendall(f"{line}\n".encode())

    def log_in(self, user: str, password: str, *, timeout_s: float) -> None:
        """Answer the login prompt; raises ``TimeoutError`` where no shell's prompt follows."""
        self.read_until(r"login: $", timeout_s=timeout_s)
        self.type(user)
        self.read_until(r"[Pp]assword: ?$", timeout_s=timeout_s)
        self.type(password)
        self.read_until(_PROMPT, timeout_s=timeout_s)

    def ask(self, command: str, *, timeout_s: float = 20) -> str:
        """What a command prints at the shell's prompt."""
        self.type(f"{command}; echo END''-OF-IT")
        said = self.read_until(r"END-OF-IT", timeout_s=timeout_s)
        self.read_until(_PROMPT, timeout_s=timeout_s)
        return said.partition("END''-OF-IT")[2].removesuffix("END-OF-IT").strip()

    def close(self) -> None:
        self._socket.close()


@dataclass(frozen=True, slots=True)
class LabGuest:
    """A defined guest on a lab host."""

    host: Host
    name: str
    serial_path: Path
    disk: Path

    def start(self) -> None:
        self.host.virsh("start", self.name)

    def serial(self) -> Serial:
        return Serial(self.serial_path)

    @property
    def state(self) -> str:
        return self.host.virsh("domstate", self.name)

    def wait_state(self, state: str, *, timeout_s: float) -> None:
        wait_until(lambda: self.state == state, timeout_s=timeout_s, what=f"{self.name} is {state}", every_s=0.2)

    def wait_address(self, *, timeout_s: float) -> str:
        """The guest's IPv4 address from the network's leases."""

        def leased() -> str | None:
            found = re.search(r"([\d.]+)/\d+", self.host.virsh("domifaddr", self.name, "--source", "lease"))
            return found.group(1) if found else None

        return wait_until(leased, timeout_s=timeout_s, what=f"a lease for {self.name}", every_s=0.2)

    def wait_agent(self, *, timeout_s: float) -> None:
        ask = ("qemu-agent-command", self.name, '{"execute": "guest-ping"}', "--timeout", "5")

        def answers() -> bool:
            return '"return"' in self.host.virsh(*ask, check=False)

        wait_until(answers, timeout_s=timeout_s, what=f"the agent of {self.name}", every_s=0.3)

    def ssh(self, key: Path, command: str, *, user: str, timeout_s: float = 60) -> str:
        """Run a command over ssh from the host's network, by key only; waits for the guest's sshd."""
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        options += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-i", str(key)]
        address = self.wait_address(timeout_s=timeout_s)

        def answer() -> subprocess.CompletedProcess[str] | None:
            asked = self.host.exec("ssh", *options, f"{user}@{address}", command, check=False, timeout_s=timeout_s)
            return None if asked.returncode == 255 else asked

        asked = wait_until(answer, timeout_s=timeout_s, what=f"{self.name} takes {key} over ssh", every_s=0.3)
        asked.check_returncode()
        return asked.stdout.strip()


@contextlib.contextmanager
def guest(
    host: Host, image: Path, *, name: str, files: dict[str, str], memory_mib: int = 192, disk_mib: int = 0,
    machine: str = "q35",
) -> Iterator[LabGuest]:  # fmt: skip
    """A guest on a copy of an image with a NoCloud seed of ``files``; gone from the host afterwards."""
    if "lab" not in host.virsh("net-list", "--name").split():
        host.virsh("net-create", _write(host.pool_dir / "lab.xml", _NETWORK))
    disk, seed = host.pool_dir / f"{name}.qcow2", host.pool_dir / f"{name}.iso"
    shutil.copyfile(image, disk)
    if disk_mib:
        host.exec("qemu-img", "resize", "-q", "-f", "qcow2", disk, f"{disk_mib}M")
    seed.write_bytes(seed_image(files))
    made = LabGuest(host, name, host.run_dir / f"{name}.serial", disk)
    xml = _DOMAIN.format(
        name=name, memory_mib=memory_mib, machine=machine, disk=disk, seed=seed, serial=made.serial_path,
        vnc=host.run_dir / f"{name}.vnc",
    )  # fmt: skip
    host.virsh("define", _write(host.pool_dir / f"{name}.xml", xml))
    try:
        yield made
    finally:
        host.virsh("destroy", name, check=False)
        host.virsh("undefine", name)
        for path in (disk, seed):
            path.unlink()


def seed_image(files: dict[str, str]) -> bytes:
    """A NoCloud seed: an ISO 9660 image labelled cidata with these files in it."""
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for number, (name, text) in enumerate(files.items()):
        data = text.encode()
        image.add_fp(
            io.BytesIO(data), len(data), iso_path=f"/F{number}.;1", rr_name=name, joliet_path=f"/{name}"
        )  # fmt: skip
    target = io.BytesIO()
    image.write_fp(target)
    image.close()
    return target.getvalue()


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
