"""A portal with one host in memory, and workers that run in the test's own thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vms.reconcile.backup_lives import Backups
from tests.vms.reconcile.bench import Bench
from vms.hypervisor import fake, pool


@pytest.fixture
def bench(db: None, settings: Any, tmp_path: Path) -> Iterator[Bench]:
    """Needs ``transactional_db`` beside it where threads or broken-off transactions play a part."""
    pool.register("fake", fake.connect)
    settings.DATA_DIR = tmp_path
    yield Bench(tmp_path)
    pool.close_all()
    fake.forget_hosts()


@pytest.fixture
def backups(bench: Bench, tmp_path: Path) -> Backups:
    return Backups(bench, tmp_path / "store")
