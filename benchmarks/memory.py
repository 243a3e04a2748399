"""What a portal takes at rest: the proportional memory (PSS) of each of its processes, Redis and supervisor among them.

    .venv/bin/python -m benchmarks.memory --state STATE

PSS shares a page among those who map it, so the sum is what would be free without the portal.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import psutil


def main() -> None:
    """Walk the supervisor's children and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True)
    top = psutil.Process(int((parser.parse_args().state / "supervisord.pid").read_text()))
    total = 0.0
    print("| process | PSS MiB |\n| --- | --- |")
    for process in [top, *top.children(recursive=True)]:
        mib = pss_kib(process.pid) / 1024
        total += mib
        name = " ".join(process.cmdline())
        short = re.search(
            r"portal\.worker|portal\.beat|watch_hosts|vms\.consoles|uvicorn|redis-server|supervisord", name
        )
        print(f"| {short.group(0) if short else process.name()} | {mib:.1f} |")
    print(f"| **all** | **{total:.1f}** |")


def pss_kib(pid: int) -> int:
    """The kernel's own sum for a process."""
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found.group(1)) if found else 0


if __name__ == "__main__":
    main()
