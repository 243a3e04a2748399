"""A conversation that goes on while rules change; run inside a lab host, as root.

``python clinger.py CALLER CALLED IP PORT``: the machine ``wire-CALLER`` calls ``wire-CALLED`` there and prints ``up``. For each
line of stdin it says something more, and prints ``heard`` or ``silent``: did that arrive?
"""

from __future__ import annotations

import os
import select
import socket
import sys
from pathlib import Path

_WAIT_S = 2.0


def enter(name: str) -> None:
    """Sockets made from here on belong to that machine."""
    with Path(f"/run/netns/wire-{name}").open() as file:
        os.setns(file.fileno(), os.CLONE_NEWNET)


def main(caller: str, called: str, ip: str, port: int) -> None:
    enter(called)
    ear = socket.create_server((ip, port))
    enter(caller)
    mouth = socket.create_connection((ip, port), timeout=_WAIT_S)
    other, _address = ear.accept()
    print("up", flush=True)
    for _line in sys.stdin:
        mouth.send(b"more")
        heard, _, _ = select.select([other], [], [], _WAIT_S)
        print("heard" if heard and other.recv(16) else "silent", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
