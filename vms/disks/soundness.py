"""Is a disk image whole?"""

from __future__ import annotations

import subprocess
from pathlib import Path

from vms.disks.errors import DiskError

TIMEOUT_S = 120
SOUND, LEAKS = 0, 3
"""``qemu-img check``: 0 is clean, 3 is leaked clusters only, 2 is corruption, 1 is that it could not be checked."""


def is_sound(path: Path) -> bool:
    """Run ``qemu-img check`` on a qcow2 image nobody has open; leaked clusters are no damage. Raises ``DiskError``."""
    command = ["qemu-img", "check", "-f", "qcow2", "-q", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DiskError(f"qemu-img check did not end well: {type(error).__name__}") from error
    if done.returncode == 1:
        raise DiskError("qemu-img check could not read it")
    return done.returncode in (SOUND, LEAKS)
