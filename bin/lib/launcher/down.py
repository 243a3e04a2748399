"""``bin/down [--state DIR]``: stop a portal, in order; guests and libvirtd go on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from launcher.installation import ROOT, Installation, Unusable
from launcher.processes import Supervisor


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bin/down", description="Stop a portal. Guests and libvirtd go on.")
    parser.add_argument("--state", type=Path, default=ROOT / "var", metavar="DIR", help="default: var/")
    installation = Installation(parser.parse_args(arguments).state)
    supervisor = Supervisor(installation)
    if not supervisor.is_running():
        print(f"No portal runs from {installation.state}.")
        return 0
    try:
        supervisor.stop()
    except Unusable as reason:
        sys.stderr.write(f"bin/down: {reason}\n")
        return 1
    print(f"The portal at {installation.public_url} has stopped. Guests go on.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
