"""The shell below bin/: which packages are wanted, and what --no-install says of those that are not there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from launcher.installation import ROOT

PACKAGES = [
    line.split(maxsplit=2) for line in (ROOT / "bin/lib/packages").read_text().splitlines() if line[:1] not in "#"
]


def bash(script: str, *, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``script`` with bin/lib/bootstrap.sh sourced; programs in ``path`` stand before the system's."""
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail; source bin/lib/bootstrap.sh; {script}"],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with "here" installed, where apt knows "known" and "here" besides, and refuses to install anything."""
    programs = {
        "dpkg-query": "printf 'installed here\\nconfig-files removed\\n'",
        "apt-cache": "for name; do case $name in known|here) printf '%s:\\n  Candidate: 1.0\\n' $name;; "
        "split) printf 'split:\\n  Candidate: (none)\\n';; esac; done",
        "apt-get": "exit 1",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("entries", "missing"),
    [
        ("here", ""),
        ("removed", "removed"),
        ("gone|here", ""),
        ("gone|known", "known"),
        ("gone|lost", "gone"),
        ("?split", ""),
        ("?known", "known"),
    ],
    ids=[
        "installed",
        "removed",
        "an alternative is installed",
        "apt knows one",
        "apt knows none",
        "not split",
        "split",
    ],
)
def test_what_is_missing(machine: Path, entries: str, missing: str) -> None:
    answer = bash(f"wanted_packages() {{ echo '{entries}'; }}; missing_packages any", path=machine)

    assert answer.stdout.split() == missing.split()


def test_without_permission_to_install_the_missing_are_named_and_the_exit_code_is_3(machine: Path) -> None:
    environment = {**os.environ, "PATH": f"{machine}:{os.environ['PATH']}"}

    answer = subprocess.run(
        [ROOT / "bin/up", "--no-install"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert answer.returncode == 3
    assert "libvirt-daemon-system" in answer.stderr
    assert "apt-get install" in answer.stderr


def test_a_failed_installation_stops_everything_with_a_sentence(machine: Path) -> None:
    answer = bash("ensure_packages run", path=machine)

    assert answer.returncode == 1
    assert "apt-get update failed" in answer.stderr


def test_an_interpreter_that_exists_but_does_not_run_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "python3.13").write_text("#!/bin/sh\necho 'no such version' >&2; exit 127\n")
    (tmp_path / "python3.13").chmod(0o755)

    found = bash("find_python", path=tmp_path)

    assert found.returncode == 0
    assert not found.stdout.startswith(str(tmp_path))


@pytest.mark.parametrize(("synced", "is_left_alone"), [("requirements-dev.lock requirements.lock", 1), ("", 0)])
def test_an_environment_is_prepared_once_for_each_lock(tmp_path: Path, synced: str, is_left_alone: int) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to("/bin/true")

    answer = bash(
        f"VENV={tmp_path} STAMP={tmp_path}/.synced; for lock in {synced}; do lock_sum $lock; done >$STAMP;"
        "ensure_packages() { die prepares; }; ensure_environment requirements.lock"
    )

    assert ("prepares" not in answer.stderr) == bool(is_left_alone)


@pytest.mark.parametrize("command", ["up", "down", "test"])
def test_commands_explain_themselves(command: str) -> None:
    answer = subprocess.run([ROOT / "bin" / command, "--help"], capture_output=True, text=True, timeout=60, check=False)

    assert answer.returncode == 0
    assert answer.stdout.startswith("usage:")


def test_every_package_has_a_group_and_a_reason() -> None:
    assert {fields[0] for fields in PACKAGES if len(fields) == 3} == {"run", "python", "build", "npm", "test"}
    assert [fields for fields in PACKAGES if len(fields) != 3] == []
    assert all(re.fullmatch(r"\??[a-z0-9][a-z0-9+.|-]+", name) for _, name, _ in PACKAGES)


def test_apt_is_asked_again_only_when_something_changed(machine: Path, tmp_path: Path) -> None:
    (machine / "apt-cache").write_text(f"#!/bin/sh\necho asked >>{tmp_path}/asked\n")

    answer = bash(
        f"VENV={tmp_path}; wanted_packages() {{ echo '?split'; }}; ensure_packages any; ensure_packages any; "
        "wanted_packages() { echo '?other'; }; ensure_packages any",
        path=machine,
    )

    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "asked").read_text().split() == ["asked", "asked"]
