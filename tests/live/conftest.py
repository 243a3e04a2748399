"""The stage, started once for all tests of faults, and whole again for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.hosts import Host as LabHost
from tests.live.livebench import LiveBench, wipe
from tests.live.stage import Stage
from tests.support.services import private_directory
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import RECIPES, points_of
from vms.hypervisor import fake, pool
from vms.models import Host


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


@pytest.fixture
def bench(
    transactional_db: None, lab_host: LabHost, tiny_image: Path, settings: Any, tmp_path: Path
) -> Iterator[LiveBench]:
    settings.DATA_DIR = tmp_path
    yield LiveBench(lab_host, tiny_image)
    pool.close_all()
    wipe(lab_host)


@pytest.fixture
def steps(db: None, settings: Any, tmp_path: Path) -> dict[str, list[str]]:
    """The checkpoints of each kind, as a host in memory shows them: the same handlers, the same steps."""
    pool.register("fake", fake.connect)
    settings.DATA_DIR = tmp_path
    bench = Bench(tmp_path)
    found = {kind: points_of(recipe, bench) for kind, recipe in RECIPES.items()}
    Host.objects.update(enabled=False)  # it takes no more machines: the real one is to have them
    return found
