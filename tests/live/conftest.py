"""The stage, started once for all tests of faults, and whole again for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.stage import Stage
from tests.support.services import private_directory
from vms.hypervisor import fake, pool


@pytest.fixture(scope="session")
def standing_stage(django_db_blocker: Any) -> Iterator[Stage]:
    with private_directory() as directory:
        stage = Stage(directory)
        try:
            with django_db_blocker.unblock(), stage.looking_in():
                pool.register("fake", fake.connect)
                stage.begin()
            yield stage
        finally:
            stage.close()


@pytest.fixture
def stage(standing_stage: Stage, django_db_blocker: Any) -> Iterator[Stage]:
    """A portal of real processes without machines; the test's own process looks into its database."""
    pool.register("fake", fake.connect)
    with django_db_blocker.unblock(), standing_stage.looking_in():
        yield standing_stage
        standing_stage.clear()
        pool.close_all()
