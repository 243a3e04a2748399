"""Several libvirt hosts on one machine.

    tests/lab/lab up 3                      start host1 … host3 (running ones are kept)
    tests/lab/lab status                    what runs, where
    tests/lab/lab uri host1 [tls|tcp]       the libvirt URI
    tests/lab/lab exec host1 CMD…           run a command inside of a host
    tests/lab/lab virsh host1 ARGS…
    tests/lab/lab power host1 off|on        guests die, definitions stay
    tests/lab/lab link host1 down|up        the management cable
    tests/lab/lab daemon host1 freeze|thaw|kill|stop|start
    tests/lab/lab down                      end everything and leave nothing

The lab's files are in --dir, or $LAB_DIR, or /var/tmp/guesthouse-lab; every directory is a lab of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

from tests.lab.hosts import Host, Lab


def main(argv: list[str] | None = None) -> int:
    asked = _parser().parse_args(argv)
    lab = Lab(asked.dir, tc_shim=asked.tc_shim, with_kvm=asked.with_kvm)
    match asked.command:
        case "up":
            lab.up(asked.count)
            _status(lab)
        case "down":
            lab.down()
        case "status":
            _status(lab)
        case "uri":
            host = lab.host(asked.host)
            print({"unix": host.uri, "tls": host.tls_uri, "tcp": host.tcp_uri}[asked.kind])
        case "exec":
            return subprocess.run(lab.host(asked.host).inside(*asked.words), check=False).returncode
        case "virsh":
            return subprocess.run(["virsh", "-c", lab.host(asked.host).uri, *asked.words], check=False).returncode
        case _:
            _act(lab.host(asked.host), asked.command, asked.verb)
    return 0


def _act(host: Host, command: str, verb: str) -> None:
    acts = {
        "power": {"off": host.power_off, "on": host.power_on},
        "link": {"down": host.link_down, "up": host.link_up},
        "daemon": {
            "freeze": host.freeze, "thaw": host.thaw, "kill": host.kill_daemon, "stop": host.stop_daemon,
            "start": host.start_daemon,
        },
    }  # fmt: skip
    if verb not in acts[command]:
        raise SystemExit(f"{command} HOST {'|'.join(acts[command])}")
    acts[command][verb]()


def _status(lab: Lab) -> None:
    for host in lab.hosts():
        print(host.name, "up" if host.is_up else "down", host.address, host.uri)
    if not lab.hosts():
        print("no hosts")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(os.environ.get("LAB_DIR", "/var/tmp/guesthouse-lab"))
    parser.add_argument("--dir", type=Path, default=default)
    parser.add_argument("--tc-shim", action="store_true", help="stand in for traffic shaping this kernel lacks (up)")
    parser.add_argument("--with-kvm", action="store_true", help="show /dev/kvm to the hosts (up)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up").add_argument("count", type=int, nargs="?", default=1)
    commands.add_parser("down")
    commands.add_parser("status")
    uri = commands.add_parser("uri")
    uri.add_argument("host")
    uri.add_argument("kind", nargs="?", choices=("unix", "tls", "tcp"), default="unix")
    for name in ("exec", "virsh"):
        words = commands.add_parser(name)
        words.add_argument("host")
        words.add_argument("words", nargs=argparse.REMAINDER)
    for name in ("power", "link", "daemon"):
        act = commands.add_parser(name)
        act.add_argument("host")
        act.add_argument("verb")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
