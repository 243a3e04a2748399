"""``bin/manage [--state DIR] COMMAND …``: manage.py against one state."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from launcher.installation import ROOT, Installation
from launcher.processes import BIN


def main(arguments: list[str]) -> NoReturn:
    """Become manage.py; ends with a sentence where the state holds no portal."""
    state, command = split_state(arguments)
    installation = Installation(state)
    if not installation.secrets_file.exists():
        sys.exit(f"bin/manage: {installation.state} holds no portal; run bin/up first")
    python = str(BIN / "python")
    os.execve(python, [python, str(ROOT / "manage.py"), *command], installation.environment())


def split_state(arguments: list[str]) -> tuple[Path, list[str]]:
    """Take ``--state DIR`` or ``--state=DIR`` from the front; the rest belongs to manage.py."""
    match arguments:
        case ["--state", directory, *rest]:
            return Path(directory), rest
        case [first, *rest] if first.startswith("--state="):
            return Path(first.removeprefix("--state=")), rest
        case _:
            return ROOT / "var", arguments


if __name__ == "__main__":
    main(sys.argv[1:])
