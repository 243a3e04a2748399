"""The lab: compute hosts with their own libvirtd, joined by a management network.

A host is one process 1 in its own mount, uts, ipc, net, pid and cgroup namespaces; ending it ends its libvirtd, its
dnsmasq and all its guests, and frees its network devices. The management bridge lives in a namespace too (the
"switch"); the machine itself sees one veth a lab. The machine's own libvirtd is never touched.

All files lie in one directory, the lab's, and every name the kernel sees carries a hash of that path: several labs
live side by side.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import pwd
import shutil
import signal
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.lab import pki
from tests.lab.machine import free_network, in_net, locked, run
from tests.lab.namespaces import Cgroup, Leash, Pid, Spawned, enter, processes_beside
from tests.lab.waiting import wait_until

QEMU_USER = "libvirt-qemu"
_FILTERS = (Path("/etc/libvirt/nwfilter"), Path("/usr/share/libvirt/nwfilter"))
_HIDDEN = (
    "/run",
    "/dev",
    "/sys",
    "/proc",
    *(f"/{place}/libvirt" for place in ("etc", "var/lib", "var/log", "var/cache")),
)


class Lab:
    """Hosts host1, host2, … below one directory. ``up`` and ``down`` are safe to repeat.

    ``tied`` hosts end with this Python process, however it ends; free ones live until ``down``. ``tc_shim`` makes
    libvirt's ``<bandwidth>`` work on kernels that lack it. ``with_kvm`` shows the machine's /dev/kvm to the hosts.
    """

    def __init__(self, directory: Path, *, tied: bool = False, tc_shim: bool = False, with_kvm: bool = False) -> None:
        if any(directory.is_relative_to(place) for place in _HIDDEN):
            raise ValueError(f"{directory} is hidden inside of a host: choose another place")
        if len(str(directory)) > 40:
            raise ValueError(f"{directory} is too long for the unix sockets below it (40 characters at most)")
        self.directory = directory
        self.id = hashlib.sha256(str(directory).encode()).hexdigest()[:6]
        self.leash: Leash = "tied" if tied else "free"
        self.environment = {"LAB_TC_SHIM": "1" if tc_shim else "", "LAB_WITH_KVM": "1" if with_kvm else ""}
        self._leashes: list[IO[str]] = []
        self._spawned: list[Spawned] = []

    # --- all of it ----------------------------------------------------------------------------------------------
    def up(self, count: int) -> list[Host]:
        """Start host1 … hostN, in parallel; those that run are kept."""
        if os.geteuid() != 0:
            raise PermissionError("the lab makes namespaces and network devices: it needs root")
        if not 1 <= count <= 64:
            raise ValueError("1 to 64 hosts")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o711)
        with locked(self.directory):
            pki.make_authority(self.directory / "pki")
            if not self._controller_pki.exists():
                pki.make_client(self.directory / "pki", self._controller_pki, name="controller")
            self._switch_up()
            hosts = [self.host(f"host{number}") for number in range(1, count + 1)]
            with ThreadPoolExecutor(max_workers=8) as pool:
                list(pool.map(Host.power_on, hosts))
        return hosts

    def down(self) -> None:
        """End everything and remove every trace, the directory included."""
        if not self.directory.exists():
            return
        with locked(self.directory):
            for host in self.hosts():
                host.end()
            # The kernel frees a dead namespace's devices in its own time; this one must be gone when we return.
            run(f"ip link del {self._device}", check=False)
            if switch := self._switch:
                switch.end()
        for pipe in self._leashes:
            pipe.close()
        for spawned in self._spawned:
            spawned.reap()
        self._leashes.clear()
        self._spawned.clear()
        shutil.rmtree(self.directory)

    def host(self, name: str) -> Host:
        """One host by name, whether it runs or not; raises ``ValueError`` for a name that is none."""
        number = name.removeprefix("host")
        if not number.isdigit() or not 1 <= int(number) <= 64:
            raise ValueError(f"{name!r} is not a host's name: host1 … host64")
        return Host(self, name, int(number))

    def hosts(self) -> list[Host]:
        """The hosts that have been started since the lab came up, in order."""
        names = [path.name for path in self.directory.glob("host*") if path.is_dir()]
        return sorted((self.host(name) for name in names), key=lambda host: host.number)

    # --- the management network ---------------------------------------------------------------------------------
    @property
    def network(self) -> ipaddress.IPv4Network:
        """The management /24: .1 is this machine, .11 is host1."""
        return ipaddress.IPv4Network((self.directory / "network").read_text().strip())

    @property
    def controller_address(self) -> str:
        return str(self.network[1])

    def plug(self, name: str, pid: Pid) -> None:
        """Connect a host's ``mgmt0`` to the switch; what it was connected by before it was off goes."""
        switch = self._running_switch()
        # The kernel takes a network apart some time after the last process in it has ended: our end may still be there.
        run(f"nsenter -t {switch.number} --net ip link del {name}", check=False)
        in_net(switch, f"ip link add {name} type veth peer name mgmt0 netns {pid.number}")
        in_net(switch, f"ip link set {name} master br0 up")

    def set_link(self, name: str, state: str) -> None:
        """Plug (``up``) or unplug (``down``) a host's end of the management network."""
        in_net(self._running_switch(), f"ip link set {name} {state}")

    def spawn(self, *, role: str, directory: Path, name: str) -> Spawned:
        """A new process 1, waiting to be told to go on."""
        spawned = Spawned(role=role, directory=directory, name=name, leash=self.leash, environment=self.environment)
        spawned.pid.write(directory / "init.pid")
        self._spawned.append(spawned)
        return spawned

    def go(self, spawned: Spawned, address: str = "") -> None:
        self._leashes.append(spawned.go(address))

    @property
    def _controller_pki(self) -> Path:
        return self.directory / "pki" / "controller"

    @property
    def _device(self) -> str:
        return f"gl{self.id}"

    @property
    def _switch(self) -> Pid | None:
        return Pid.read(self.directory / "switch" / "init.pid")

    def _running_switch(self) -> Pid:
        if switch := self._switch:
            return switch
        raise RuntimeError("the lab's switch is not running")

    def _switch_up(self) -> None:
        if self._switch:
            return
        directory = self.directory / "switch"
        directory.mkdir(exist_ok=True)
        spawned = self.spawn(role="switch", directory=directory, name="switch")
        in_net(spawned.pid, "ip link add br0 type bridge")
        run(f"ip link add {self._device} type veth peer name ctl netns {spawned.pid.number}")
        in_net(spawned.pid, "ip link set ctl master br0 up")
        # Another lab may be choosing a network at this moment: one at a time on this machine.
        with locked(Path("/var/tmp")):
            network = free_network(self.id)
            run(f"ip addr add {network[1]}/24 dev {self._device}")
        (self.directory / "network").write_text(f"{network}\n")
        run(f"ip link set {self._device} up")
        self.go(spawned)


@dataclass(frozen=True, slots=True)
class Host:
    """One compute host. It may be down: then only its files and its name are there."""

    lab: Lab = field(repr=False)
    name: str
    number: int

    # --- where things are ---------------------------------------------------------------------------------------
    @property
    def directory(self) -> Path:
        return self.lab.directory / self.name

    @property
    def run_dir(self) -> Path:
        """For display and serial sockets: the same path inside and outside, writable by QEMU's user, short."""
        return self.directory / "run"

    @property
    def pool_dir(self) -> Path:
        """Root for storage pools: the same path inside and outside, 0711."""
        return self.directory / "pools"

    @property
    def log_dir(self) -> Path:
        """The host's /var/log/libvirt as seen from outside."""
        return self.directory / "root" / "log"

    @property
    def address(self) -> str:
        return str(self.lab.network[10 + self.number])

    @property
    def socket(self) -> Path:
        return self.directory / "root" / "run" / "libvirt" / "libvirt-sock"

    @property
    def uri(self) -> str:
        """Over the daemon's unix socket, from outside of the host."""
        return f"qemu+unix:///system?socket={self.socket}"

    @property
    def tls_uri(self) -> str:
        """Over the management network, with the controller's certificate."""
        return f"qemu+tls://{self.address}/system?pkipath={self.lab.directory / 'pki' / 'controller'}"

    @property
    def tcp_uri(self) -> str:
        return f"qemu+tcp://{self.address}/system"

    # --- acting on it -------------------------------------------------------------------------------------------
    def exec(
        self, *argv: str | Path, check: bool = True, stdin: str = "", timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside; raises ``CalledProcessError`` with what it said."""
        return run(self.inside(*argv), check=check, stdin=stdin, timeout_s=timeout_s)

    def inside(self, *argv: str | Path) -> list[str]:
        """The command line that runs ``argv`` inside, for ``subprocess.Popen``."""
        return enter(self._running_init(), cgroup=self._cgroup, argv=[str(word) for word in argv])

    def virsh(self, *argv: str | Path, check: bool = True, timeout_s: float = 60) -> str:
        """What virsh says to ``argv`` on this host, without trailing blank lines."""
        return run(["virsh", "-q", "-c", self.uri, *map(str, argv)], check=check, timeout_s=timeout_s).stdout.rstrip()

    @property
    def is_up(self) -> bool:
        return self._init is not None

    @property
    def daemon(self) -> Pid | None:
        """The host's libvirtd, numbered as outside."""
        init = self._init
        found = processes_beside(init, "libvirtd") if init else []
        return found[0] if found else None

    def freeze(self) -> None:
        """libvirtd goes silent, as a hung host does: connections stay open and nothing answers."""
        self._running_daemon().send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running_daemon().send(signal.SIGCONT)

    def kill_daemon(self) -> None:
        """libvirtd dies at once, with what it was about to start; its guests go on."""
        daemon: Pid | None = self._running_daemon()
        while daemon:
            daemon.end(signal.SIGKILL)
            daemon = self.daemon

    def stop_daemon(self) -> None:
        """libvirtd ends in order; its guests go on."""
        self._running_daemon().end(signal.SIGTERM)

    def start_daemon(self) -> None:
        """Start libvirtd and wait until it answers; does nothing where it runs."""
        if not self.daemon:
            self.exec("libvirtd", "-d", "--listen")
        self._wait_ready()

    def link_down(self) -> None:
        """Pull the management cable: the host goes on, nobody hears of it."""
        self.lab.set_link(self.name, "down")

    def link_up(self) -> None:
        self.lab.set_link(self.name, "up")

    def power_off(self) -> None:
        """Cut the power. The link goes first, so that peers see silence and not a reset; definitions stay."""
        if self.is_up:
            self.link_down()
            self.end()

    def power_on(self) -> None:
        """Start the host and wait for its libvirtd; does nothing where it runs. Guests are off after a power cut."""
        if self.is_up:
            return
        self._write_configuration()
        self._cgroup.remove()  # of a host whose maker was killed
        spawned = self.lab.spawn(role="host", directory=self.directory, name=self.name)
        trees = self.directory / "root" / "cgroup-v1"
        shutil.rmtree(trees, ignore_errors=True)
        trees.mkdir()
        for controller in self._cgroup.make():
            (trees / controller).touch()
        self._cgroup.enter(spawned.pid)
        self.lab.plug(self.name, spawned.pid)
        self.lab.go(spawned, self.address)
        self._wait_ready()

    def end(self) -> None:
        """End the host's process 1, and with it everything inside; its files stay."""
        if init := self._init:
            init.end()
        self._cgroup.remove()
        (self.directory / "init.pid").unlink(missing_ok=True)

    # --- how it is made -----------------------------------------------------------------------------------------
    @property
    def _cgroup(self) -> Cgroup:
        return Cgroup(f"guesthouse-lab-{self.lab.id}", self.name)

    @property
    def _init(self) -> Pid | None:
        return Pid.read(self.directory / "init.pid")

    def _running_init(self) -> Pid:
        if init := self._init:
            return init
        raise RuntimeError(f"{self.name} is down")

    def _running_daemon(self) -> Pid:
        if daemon := self.daemon:
            return daemon
        raise RuntimeError(f"{self.name} has no libvirtd")

    def _wait_ready(self) -> None:
        def answers() -> bool:
            asked = run(["virsh", "-q", "-c", self.uri, "uri"], check=False, timeout_s=30)
            return asked.returncode == 0

        wait_until(answers, timeout_s=60, what=f"libvirtd of {self.name} answers; see {self.log_dir}")

    def _write_configuration(self) -> None:
        root = self.directory / "root"
        shutil.rmtree(root / "run", ignore_errors=True)  # /run is empty after a boot
        for name in (
            "run/libvirt", "run/lock", "lib/images", "lib/qemu", "log/qemu", "cache/qemu",
            "etc/qemu/networks/autostart", "etc/nwfilter",
        ):  # fmt: skip
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "lib").chmod(0o711)
        self.run_dir.mkdir(exist_ok=True)
        self.run_dir.chmod(0o755)
        self.pool_dir.mkdir(exist_ok=True)
        self.pool_dir.chmod(0o711)
        qemu = pwd.getpwnam(QEMU_USER)
        os.chown(self.run_dir, qemu.pw_uid, qemu.pw_gid)
        certificates = root / "etc" / "pki"
        if not certificates.exists():
            pki.make_host(self.lab.directory / "pki", certificates, name=self.name, address=self.address)
            for path in certificates.iterdir():
                os.chown(path, 0, qemu.pw_gid)
                path.chmod(0o640)
            (root / "uuid").write_text(str(uuid.uuid4()))
            for filters in _FILTERS:
                for path in filters.glob("*.xml"):
                    shutil.copy(path, root / "etc" / "nwfilter")
        self._write_files(root / "etc", host_uuid=(root / "uuid").read_text())

    def _write_files(self, etc: Path, *, host_uuid: str) -> None:
        addresses = {"localhost": "127.0.0.1", "controller": self.lab.controller_address}
        addresses |= {f"host{number}": str(self.lab.network[10 + number]) for number in range(1, 65)}
        (etc / "hosts").write_text("".join(f"{address} {name}\n" for name, address in addresses.items()))
        for name in ("virtlogd.conf", "virtlockd.conf", "libvirt.conf", "qemu-lockd.conf"):
            (etc / name).touch()
        _write_settings(
            etc / "libvirtd.conf",
            host_uuid=host_uuid,  # two hosts of one uuid refuse to migrate to each other
            unix_sock_group="root", unix_sock_rw_perms="0770", auth_unix_ro="none", auth_unix_rw="none",
            listen_addr=self.address, listen_tls=1, listen_tcp=1, auth_tls="none", auth_tcp="none",
            ca_file="/etc/libvirt/pki/ca-cert.pem", cert_file="/etc/libvirt/pki/server-cert.pem",
            key_file="/etc/libvirt/pki/server-key.pem",
            max_clients=500, max_anonymous_clients=100, max_workers=40, keepalive_interval=5, keepalive_count=3,
            log_filters="3:qemu 3:object 3:event", log_outputs="2:file:/var/log/libvirt/libvirtd.log",
        )  # fmt: skip
        _write_settings(
            etc / "qemu.conf",
            user=QEMU_USER, group=QEMU_USER, dynamic_ownership=1, security_driver="none", security_default_confined=0,
            default_tls_x509_cert_dir="/etc/libvirt/pki", default_tls_x509_verify=1,
            vnc_listen="127.0.0.1", vnc_tls=0, vnc_tls_x509_cert_dir="/etc/libvirt/pki",
            migration_host=self.address, migration_address=self.address,
            keepalive_interval=5, keepalive_count=3, stdio_handler="logd",
        )  # fmt: skip


def _write_settings(path: Path, **settings: str | int) -> None:
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
