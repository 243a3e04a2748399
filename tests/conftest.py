"""What the whole suite shares: its options, and which tests may run beside each other."""

from __future__ import annotations

from pathlib import Path

import pytest

ALONE = ("lab", "live", "journeys", "browser", "setup")
"""Folders whose tests take the machine's hosts, ports or processors: one process runs them all, one after another."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the sweeps that take hours")
    parser.addoption("--screenshots", type=Path, metavar="DIR", help="save a picture of every page the journeys open")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tie the tests of ``ALONE`` to one worker, and leave out what only ``--long`` asks for."""
    long = config.getoption("--long")
    kept = [item for item in items if long or not item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
    for item in items:
        folder = item.path.relative_to(config.rootpath / "tests").parts[0]
        if folder in ALONE:
            item.add_marker(pytest.mark.xdist_group("machine"))
