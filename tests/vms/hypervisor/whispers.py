"""Send raw frames out of one machine's card and tell which of them came out of others'; run as root.

``python whispers.py SPEAKER HEARER…``: each a network namespace ``wire-NAME`` with a card ``eth0``. Reads a JSON object,
names to frames in hexadecimal, and prints those names whose frame arrived anywhere.
"""

from __future__ import annotations

import json
import sys

from tests.vms.hypervisor.frames import heard, listener
from tests.vms.hypervisor.talkers import enter

_QUIET_S = 1.0


def main(speaker: str, *hearers: str) -> None:
    frames = {name: bytes.fromhex(text) for name, text in json.load(sys.stdin).items()}
    ears = []
    for hearer in hearers:
        enter(hearer)
        ears.append(listener("eth0"))
    enter(speaker)
    mouth = listener("eth0")
    sent = {frame: name for name, frame in frames.items()}
    arrived: set[str] = set()
    for frame in frames.values():
        mouth.send(frame)
        arrived |= heard(ears, sent, quiet_s=0)
    print(json.dumps(sorted(arrived | heard(ears, sent, quiet_s=_QUIET_S))))


if __name__ == "__main__":
    main(*sys.argv[1:])
