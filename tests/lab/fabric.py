"""An OVN installation over the hosts of a lab: the central databases beside the test, a switch and a controller on each host.

Open vSwitch runs wholly in user space, so no kernel module is needed: the bridges' datapath is ``netdev``. Tunnels between
hosts are Geneve's. Everything is spoken over TLS, with certificates of the lab's authority, and ends with the test process.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from tests.lab import pki
from tests.lab.hosts import Host, Lab
from tests.lab.machine import run
from tests.lab.namespaces import Pid, processes_beside
from tests.lab.waiting import wait_until
from vms.hypervisor.ovn import wire

NORTH, SOUTH = 6641, 6642
_SCHEMAS = Path("/usr/share/ovn")
_CHASSIS = Path(__file__).with_name("chassis.sh")


class Fabric:
    """OVN over ``lab``. ``up`` is safe to repeat, and takes in hosts that have come since, or come back."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.directory = lab.directory / "ovn"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def remote(self) -> str:
        """The northbound database, as the portal reaches it."""
        return f"ssl:{self.lab.controller_address}:{NORTH}"

    @property
    def pki(self) -> Path:
        """The portal's key and certificate, and the authority's."""
        return self.lab.directory / "pki" / "controller"

    def up(self) -> None:
        self.directory.mkdir(exist_ok=True)
        certificates = self.directory / "pki"
        if not certificates.exists():
            pki.make_host(self.lab.directory / "pki", certificates, name="central", address=self.lab.controller_address)
            # The switch's device does its checksums in hardware that is not there: TCP would be dropped.
            run(f"ethtool -K gl{self.lab.id} tx off", check=False)
        self.start("nb")
        self.start("sb")
        self.start("northd")
        for host in self.lab.hosts():
            if host.is_up:
                self.join(host)

    def down(self) -> None:
        wire.hang_up(self.remote, str(self.pki))
        for host in self.lab.hosts():
            if host.is_up:
                host.exec("bash", _CHASSIS, "leave", host.name, host.address, self.lab.controller_address)
        for name in list(self._running):
            self.kill(name)
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- the central part ---------------------------------------------------------------------------------------------
    def start(self, name: str) -> None:
        """``nb``, ``sb`` or ``northd``; does nothing where it runs."""
        if name in self._running:
            return
        command = self._northd() if name == "northd" else self._database(name)
        with (self.directory / f"{name}.out").open("ab") as log:
            self._running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        sign = self.directory / (f"{name}.sock" if name != "northd" else "northd.ctl")
        wait_until(sign.is_socket, timeout_s=30, what=f"{name} answers: {self.directory / name}.out")

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End one of the central processes; hosts go on with what they know."""
        process = self._running.pop(name)
        process.send_signal(number)
        process.wait(30)
        (self.directory / f"{name}.sock").unlink(missing_ok=True)
        (self.directory / f"{name}.ctl").unlink(missing_ok=True)

    def freeze(self, name: str) -> None:
        self._running[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._running[name].send_signal(signal.SIGCONT)

    def nbctl(self, *argv: str) -> str:
        """What ovn-nbctl says, by the database's own socket."""
        return run(["ovn-nbctl", f"--db=unix:{self.directory / 'nb.sock'}", *argv]).stdout.strip()

    def sbctl(self, *argv: str) -> str:
        return run(["ovn-sbctl", f"--db=unix:{self.directory / 'sb.sock'}", *argv]).stdout.strip()

    def trace(self, *argv: str) -> str:
        """What OVN would do with a packet, and why."""
        return run(["ovn-trace", f"--db=unix:{self.directory / 'sb.sock'}", *argv]).stdout

    def memory_kib(self, name: str) -> int:
        """What a central process holds in memory now."""
        status = Path(f"/proc/{self._running[name].pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def _database(self, name: str) -> list[str]:
        file = self.directory / f"{name}.db"
        if not file.exists():
            run(["ovsdb-tool", "create", str(file), str(_SCHEMAS / f"ovn-{name}.ovsschema")])
        port = NORTH if name == "nb" else SOUTH
        return [
            "ovsdb-server", str(file), f"--remote=punix:{self.directory / name}.sock",
            f"--remote=pssl:{port}:{self.lab.controller_address}", *self._tls(),
            f"--unixctl={self.directory / name}.ctl", f"--log-file={self.directory / name}.log", "--no-chdir",
        ]  # fmt: skip

    def _northd(self) -> list[str]:
        return [
            "ovn-northd", f"--ovnnb-db=unix:{self.directory / 'nb.sock'}", f"--ovnsb-db=unix:{self.directory / 'sb.sock'}",
            f"--unixctl={self.directory / 'northd.ctl'}", f"--log-file={self.directory / 'northd.log'}", "--no-chdir",
        ]  # fmt: skip

    def _tls(self) -> list[str]:
        keys = self.directory / "pki"
        return [
            f"--private-key={keys / 'server-key.pem'}", f"--certificate={keys / 'server-cert.pem'}",
            f"--ca-cert={keys / 'ca-cert.pem'}",
        ]  # fmt: skip

    # --- the hosts' part ----------------------------------------------------------------------------------------------
    def join(self, host: Host) -> None:
        """A switch and a controller on the host; does nothing for those that run."""
        host.exec("bash", _CHASSIS, "up", host.name, host.address, self.lab.controller_address, timeout_s=120)

        def is_known() -> bool:
            return host.name in self.sbctl("--bare", "--columns=name", "list", "chassis").split()

        wait_until(is_known, timeout_s=60, what=f"the fabric knows {host.name}")

    def meet(self, host: Host, physnet: str, cidr: str) -> None:
        """An outside network ``physnet`` at the host, which has the address ``cidr`` there."""
        host.exec("bash", _CHASSIS, "meet", host.name, host.address, self.lab.controller_address, physnet, cidr)

    def restart(self, host: Host, what: str) -> None:
        """``controller`` or ``switch`` of a host dies and comes again; machines keep their taps."""
        host.exec("bash", _CHASSIS, what, host.name, host.address, self.lab.controller_address, timeout_s=120)

    def controllers(self, host: Host) -> list[Pid]:
        """The host's ovn-controller, numbered as outside; more than one is a fault."""
        init = Pid.read(host.directory / "init.pid")
        return processes_beside(init, "ovn-controller") if init else []
