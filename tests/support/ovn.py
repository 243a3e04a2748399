"""OVN's central part alone, on unix sockets: both databases and northd, without any host's switch."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from tests.lab.waiting import wait_until

SCHEMAS = Path("/usr/share/ovn")


class Central:
    """Started at once; ``close`` ends it. Whoever kills a part of it starts it again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("nb", "sb", "northd"):
            self.start(name)

    @property
    def northbound(self) -> str:
        return f"unix:{self.directory / 'nb.sock'}"

    @property
    def southbound(self) -> str:
        return f"unix:{self.directory / 'sb.sock'}"

    def start(self, name: str) -> None:
        """``nb``, ``sb`` or ``northd``."""
        here = self.directory
        log = f"--log-file={here / name}.log"
        if name == "northd":
            command = ["ovn-northd", f"--ovnnb-db={self.northbound}", f"--ovnsb-db={self.southbound}"]
        else:
            file = here / f"{name}.db"
            if not file.exists():
                subprocess.run(["ovsdb-tool", "create", file, SCHEMAS / f"ovn-{name}.ovsschema"], check=True)
            command = ["ovsdb-server", str(file), f"--remote=punix:{here / name}.sock"]
        with (here / f"{name}.out").open("ab") as out:
            self._running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command, log, f"--unixctl={here / name}.ctl", "--no-chdir"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        sign = here / (f"{name}.sock" if name != "northd" else "northd.ctl")
        wait_until(sign.is_socket, timeout_s=30, what=f"{name} answers: {here / name}.out")

    def kill(self, name: str) -> None:
        """It dies at once."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        (self.directory / f"{name}.sock").unlink(missing_ok=True)
        (self.directory / f"{name}.ctl").unlink(missing_ok=True)

    def close(self) -> None:
        for name in list(self._running):
            self.kill(name)

    def nbctl(self, *argv: str) -> str:
        return _said("ovn-nbctl", f"--db={self.northbound}", *argv)

    def sbctl(self, *argv: str) -> str:
        return _said("ovn-sbctl", f"--db={self.southbound}", *argv)


def _said(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
