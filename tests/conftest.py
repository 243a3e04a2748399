"""What the whole suite shares: its options, and which tests may run beside each other."""

from __future__ import annotations

from importlib import import_module
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


@pytest.fixture(autouse=True)
def first_rows(request: pytest.FixtureRequest) -> None:
    """What migrations wrote (roles, the default pool and class) is there, though a test with real commits emptied the tables."""
    asked = {"db", "transactional_db", "live_server"} & set(request.fixturenames)
    if not request.node.get_closest_marker("django_db") and not asked:
        return
    from django.apps import apps

    request.getfixturevalue("_django_db_helper")
    import_module("tenants.migrations.0002_built_in_roles").write_roles(apps, None)
    import_module("vms.migrations.0002_defaults").write_defaults(apps, None)
