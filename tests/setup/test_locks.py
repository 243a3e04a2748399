"""What the lock files promise: floors of the packages that guard us, and no word of where they were fetched from."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from launcher.installation import ROOT

FLOORS = {"django": "6.1", "kombu": "5.4", "celery": "5.2.2", "websockify": "0.13", "redis": "7.1", "channels": "4.3.2"}
HOSTS = re.compile(
    r"https?://(?:[\w.-]*\b(?:registry|mirrors?|index|artifactory|nexus|pypi|pythonhosted|npmjs|debian|ubuntu)\b)[\w.-]*",
    re.IGNORECASE,
)
CATALOGUE = ROOT / "vms" / "catalogue" / "images.toml"
"""What operators may fetch at a click, at run time; nothing is installed from there (``docs/decisions/0020``)."""
SOURCES = re.compile(r"--(?:extra-)?index-url|--find-links|\"resolved\":|\bregistry\s*=")
PLACES = re.compile(r"/(?:work/(?:main|shared)|home/\w+|root/\.(?:pyenv|cache|local))")


def locked(name: str) -> dict[str, Version]:
    """Package → version of one lock file, whatever the platform marker."""
    lines = (ROOT / name).read_text().splitlines()
    found = {}
    for line in lines:
        if match := re.match(r"([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==(\S+)", line):
            found[match[1]] = Version(match[2])
    return found


def tracked_files() -> list[Path]:
    """Every text file of the repository, as committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (ROOT / line for line in listed.stdout.splitlines())
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


@pytest.mark.parametrize(("package", "floor"), FLOORS.items(), ids=FLOORS)
def test_packages_that_guard_us_are_not_older_than_their_fixes(package: str, floor: str) -> None:
    assert locked("requirements.lock")[package] >= Version(floor)


def test_the_consoles_client_is_not_older_than_its_fixes() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]

    assert Version(packages["node_modules/@novnc/novnc"]["version"]) >= Version("1.7")


def test_what_is_tested_is_what_runs() -> None:
    tested = locked("requirements-dev.lock")

    assert locked("requirements.lock").items() <= tested.items()


def test_locks_satisfy_the_project() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    have = locked("requirements.lock")

    for requirement in map(Requirement, wanted):
        assert have[canonicalize_name(requirement.name)] in requirement.specifier, requirement


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_package_is_pinned_by_hash(lock: str) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n?", "", (ROOT / lock).read_text(), flags=re.MULTILINE).strip())

    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_no_file_names_a_registry_or_a_place_of_the_machine_it_was_written_on() -> None:
    findings = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked_files()
        if path not in (Path(__file__), CATALOGUE)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if HOSTS.search(line) or SOURCES.search(line) or PLACES.search(line)
    ]

    assert findings == []


@pytest.mark.parametrize(
    "line",
    [
        "https://" + "registry.example.org/x/-/x-1.0.tgz",
        "https://files." + "pythonhosted" + ".org/packages/a.whl",
        "http://deb." + "debian.org/debian bookworm main",
        "https://mirror.example.org/simple",
    ],
)
def test_the_search_knows_a_registry_when_it_sees_one(line: str) -> None:
    assert HOSTS.search(line)
