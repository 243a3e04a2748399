"""Send raw Ethernet frames past a guest's filter and tell which came through; run inside a lab host, as root.

``python frames.py GUEST_END OTHER_END BRIDGE`` with two veth ends whose peers are ports of the bridge. Reads from stdin one
JSON object a line, ``{"name": …, "from": "guest"|"other", "frame": hex}``, and prints the names of those that arrived: at
the other port or the bridge itself for the guest's, at the guest for the other's.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

_EVERYTHING = 3  # ETH_P_ALL
_VLAN = (b"\x81\x00", b"\x88\xa8")
_QUIET_S = 0.5


def listener(device: str) -> socket.socket:
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERYTHING))
    line.bind((device, 0))
    return line


def main(guest: str, other: str, bridge: str) -> None:
    cases = [json.loads(text) for text in sys.stdin]
    arrived: set[str] = set()
    for side, hearing in (("guest", (other, bridge)), ("other", (guest,))):
        mouth = listener(guest if side == "guest" else other)
        ears = [listener(device) for device in hearing]
        mine = {bytes.fromhex(case["frame"]): case["name"] for case in cases if case["from"] == side}
        # The kernel takes a VLAN's tag off before it shows a frame.
        mine |= {frame[:12] + frame[16:]: name for frame, name in mine.items() if frame[12:14] in _VLAN}
        for frame in [bytes.fromhex(case["frame"]) for case in cases if case["from"] == side]:
            mouth.send(frame)
            arrived |= heard(ears, mine, quiet_s=0)
        arrived |= heard(ears, mine, quiet_s=_QUIET_S)
    print(json.dumps(sorted(arrived)))


def heard(ears: list[socket.socket], sent: dict[bytes, str], *, quiet_s: float) -> set[str]:
    """The names of what comes out unchanged until nothing came for a while; other traffic is passed over."""
    names = set()
    end = time.monotonic() + quiet_s
    while ready := select.select(ears, [], [], max(0.0, end - time.monotonic()))[0]:
        for ear in ready:
            received = ear.recv(4096)
            names |= {sent[received]} if received in sent else set()
    return names


if __name__ == "__main__":
    main(*sys.argv[1:4])
