"""What the whole suite shares: its options, and which tests may run beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support.crowd import PATIENCE_S

ALONE = (
    "tests/browser/",
    "tests/journeys/",
    "tests/lab/",
    "tests/live/",
    "tests/setup/",
    "tests/vms/disks/test_debian_image.py",
    "tests/vms/disks/test_tiny_image.py",
    "tests/vms/hypervisor/test_filters.py",
    "tests/vms/hypervisor/test_host_probe.py",
    "tests/vms/hypervisor/test_liveness.py",
    "tests/vms/hypervisor/test_real_guest.py",
)
"""Where tests take the machine's hosts, ports or processors: one process runs them all, one after another."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the sweeps that take hours")
    parser.addoption("--screenshots", type=Path, metavar="DIR", help="save a picture of every page the journeys open")


def pytest_collection() -> None:
    """Tests ask of every page that there is, operators' among them: the urls read those (``portal/admin_app.py``)."""
    import_module("portal.urls")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Leave out what only ``--long`` asks for; the browser's tests come last, after whoever else has put tests in order.

    From the first of them on, Playwright has an event loop running in the thread, and Django's database refuses to be used there.
    """
    long = config.getoption("--long")
    kept = [item for item in items if long or not item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
    yield
    items.sort(key=lambda item: item.nodeid.startswith("tests/browser/"))


class ByMachine(LoadScopeScheduling):
    """Shares out whole files, and all that is ``ALONE`` as one piece (pytest-xdist 3.8's groups have no effect in pytest 9.2)."""

    def _split_scope(self, nodeid: str) -> str:
        return "the machine" if nodeid.startswith(ALONE) else nodeid.partition("::")[0]


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByMachine:
    """How tests are shared out to processes."""
    return ByMachine(config, log)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Fifty clients of a test are one process: each has a connection, and waits for it as long as a busy machine takes."""
    from django.db import connections

    options = connections["default"].settings_dict["OPTIONS"]
    if "pool" in options:
        options["pool"] = {**options["pool"], "max_size": 64, "timeout": PATIENCE_S}


@pytest.fixture(scope="session", autouse=True)
def emptied_between_tests() -> Iterator[None]:
    """The database refuses to empty what is written once; after a test with real commits it is emptied all the same."""
    from django.db.backends.postgresql.operations import DatabaseOperations

    from billing.models import ClosedHour, ListTurn, Statement, UsageRecord
    from tenants.journal.models import AuditEntry, InstallationEntry, UsageInterval

    real = DatabaseOperations.sql_flush
    logs = [
        log._meta.db_table
        for log in (AuditEntry, InstallationEntry, UsageInterval, UsageRecord, ClosedHour, ListTurn, Statement)
    ]

    def sql_flush(self: Any, style: Any, tables: Any, **options: Any) -> list[str]:
        off = [f"ALTER TABLE {log} DISABLE TRIGGER USER" for log in logs if log in tables]
        on = [statement.replace("DISABLE", "ENABLE") for statement in off]
        return [*off, *real(self, style, tables, **options), *on]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", sql_flush)
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The test database, with nobody left in it at the end: threads of a server under test keep sessions that would hold it."""
    yield
    from django.db import connection

    with django_db_blocker.unblock():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        connection.close()


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
