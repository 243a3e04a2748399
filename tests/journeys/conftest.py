"""The whole product, started once by ``bin/up`` against a libvirt host of the lab, for all journeys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.customer import Customer
from tests.lab.hosts import Host
from tests.setup.test_installation import free_port
from tests.setup.test_up import Portal, clear_away
from tests.support.services import private_directory


@pytest.fixture(scope="session")
def portal(lab_host: Host) -> Iterator[Portal]:
    """The embedded default: SQLite, a Redis of its own, real workers; gone with everything it stored."""
    with private_directory() as place:
        portal = Portal(place / "state", free_port(), lab_host.uri)
        try:
            answer = portal.up()
            assert answer.returncode == 0, answer.stderr
            yield portal
        finally:
            clear_away(portal)


@pytest.fixture(scope="session")
def customer(portal: Portal) -> Iterator[Customer]:
    """The owner of the demo tenant, with nothing in their hands but ``first-run.json``."""
    first = portal.first_run
    with Customer(first["url"], first["tenant"]["slug"], first["tenant"]["owner"]) as somebody:
        yield somebody


@pytest.fixture(scope="session")
def operator(portal: Portal) -> Iterator[Customer]:
    """Who runs the installation, looking at the demo tenant."""
    first = portal.first_run
    with Customer(first["url"], first["tenant"]["slug"], first["operator"]) as somebody:
        yield somebody
