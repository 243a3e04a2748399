"""The checks that need no services, cheap ones first: style, types, layers, migrations, production settings."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from launcher.installation import ROOT, new_secrets, write_private
from launcher.processes import BIN


@dataclass(frozen=True, slots=True)
class Check:
    """One command that ends with 0 when all is well, and what it needs beyond the common environment."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


MANAGE = (str(BIN / "python"), str(ROOT / "manage.py"))
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "portal.settings.production",
    "GUESTHOUSE_PUBLIC_URL": "https://portal.example.test",
    "GUESTHOUSE_CONSOLE_URL": "wss://portal.example.test/console",
    "DATABASE_URL": "postgres://guesthouse@database.example.test/guesthouse",
    "EMAIL_URL": "smtp+tls://mail.example.test",
}
CHECKS = (
    Check("ruff check", (str(BIN / "ruff"), "check", ".")),
    Check("ruff format", (str(BIN / "ruff"), "format", "--check", ".")),
    Check("import contracts", (str(BIN / "lint-imports"),)),
    Check("types", (str(BIN / "mypy"),)),
    Check("migrations", (*MANAGE, "makemigrations", "--check", "--dry-run")),
    Check("production settings", (*MANAGE, "check", "--deploy", "--fail-level", "WARNING"), PRODUCTION),
)


def main(names: Sequence[str]) -> int:
    """Run the checks named, or all; prints what each failure said. Ends with the number of failures."""
    chosen = [check for check in CHECKS if not names or check.name in names]
    with tempfile.TemporaryDirectory(prefix="gh-") as folder, ThreadPoolExecutor(max_workers=2) as pool:
        environment = throwaway(Path(folder))
        failed = 0
        for check, done in zip(chosen, pool.map(lambda check: run(check, environment), chosen), strict=True):
            print(f"{'ok    ' if done.returncode == 0 else 'FAILED'} {check.name}", flush=True)
            if done.returncode:
                failed += 1
                print(done.stdout + done.stderr, flush=True)
    return failed


def throwaway(state: Path) -> dict[str, str]:
    """An environment that settings can be imported in, with secrets and a database that nobody keeps."""
    write_private(state / "secrets.json", new_secrets())
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "portal.settings.test",
        "GUESTHOUSE_STATE": str(state),
        "GUESTHOUSE_SECRET_FILE": str(state / "secrets.json"),
        "DATABASE_URL": f"sqlite:///{state / 'db.sqlite3'}",
    }


def run(check: Check, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        check.command, cwd=ROOT, env={**environment, **check.environment}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
