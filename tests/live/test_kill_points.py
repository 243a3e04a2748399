"""W1, P-B15 for real: a worker's process kills itself at a step of each kind of operation, on a libvirt host of the lab.

``--long`` goes on until every step of every kind has been tried; the plain run tries one of each, chosen anew each day.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from launcher.installation import ROOT
from operations.models import Operation
from operations.runner import run
from portal.core.ids import uuid7
from tenants.scoping import every_tenant
from tests import factories
from tests.lab.hosts import Host as LabHost
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import RECIPES, points_of
from vms.disks.inspect import inspect
from vms.hypervisor import fake, pool
from vms.models import Drift, Guest, Host, Installation
from vms.reconcile.sweep import sweep
from vms.services.images import image_path
from vms.states import Power

pytestmark = pytest.mark.django_db(transaction=True)
LIFE = ("pause", "resume", "suspend", "wake", "reset", "stop", "start", "delete", "restore", "purge")
"""One machine's way through everything that needs no answer from inside of it."""
WORKER = """
import sys
import django
django.setup()
import vms.handlers
from operations.runner import run
print(run(sys.argv[1]))
"""


class LiveBench(Bench):
    """The same bench on a real host; what it makes there goes with the host."""

    def __init__(self, host: LabHost, image: Path) -> None:
        self.name = f"live-{host.name}"
        self.lab_host = host
        self.enrol(host.uri, data_dir=str(host.pool_dir / "live"), run_dir=str(host.run_dir))
        self.image = self.take_image(image)

    def take_image(self, file: Path) -> Any:
        image = factories.image(
            "tiny-real", virtual_size=inspect(file).virtual_size, size=file.stat().st_size,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        )  # fmt: skip
        image_path(image).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, image_path(image))
        return image


@pytest.fixture
def bench(
    transactional_db: None, lab_host: LabHost, tiny_image: Path, settings: Any, tmp_path: Path
) -> Iterator[LiveBench]:
    settings.DATA_DIR = tmp_path
    (lab_host.pool_dir / "live").mkdir(mode=0o711, exist_ok=True)
    yield LiveBench(lab_host, tiny_image)
    pool.close_all()


@pytest.fixture
def steps(db: None, settings: Any, tmp_path: Path) -> dict[str, list[str]]:
    """The checkpoints of each kind, as a host in memory shows them: the same handlers, the same steps."""
    pool.register("fake", fake.connect)
    settings.DATA_DIR = tmp_path
    bench = Bench(tmp_path)
    found = {kind: points_of(recipe, bench) for kind, recipe in RECIPES.items()}
    Host.objects.update(enabled=False)  # it takes no more machines: the real one is to have them
    return found


def work(operation: Operation, *, die_at: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Run the operation in a process of its own, which kills itself at ``die_at`` if it gets there."""
    database = os.environ["DATABASE_URL"].rpartition("/")[0] + "/" + str(connection.settings_dict["NAME"])
    environment = {
        **os.environ, "DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "portal.settings.test",
        "GUESTHOUSE_KILL_AT": die_at, "GUESTHOUSE_DATA_DIR": str(data), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", WORKER, str(operation.pk)], env=environment, cwd=ROOT, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def test_a_killed_worker_is_taken_over_on_a_real_host(
    steps: dict[str, list[str]], request: pytest.FixtureRequest
) -> None:
    chosen = random.Random(datetime.datetime.now(datetime.UTC).date().isoformat())
    rounds = max(map(len, steps.values())) if request.config.getoption("--long") else 1
    for points in steps.values():
        chosen.shuffle(points)
    bench: LiveBench = request.getfixturevalue("bench")

    for number in range(rounds):
        live_through(bench, {kind: points[number % len(points)] for kind, points in steps.items()})


def live_through(bench: LiveBench, die_at: dict[str, str]) -> None:
    """One machine's life, its worker killed once in every operation."""
    guest, operation = bench.ask_create()
    survive(bench, guest, operation, die_at["guest.create"])
    for action in LIFE:
        if action == "reset":
            assert run(bench.ask(guest, "pause").pk) == "succeeded"
        survive(bench, guest, bench.ask(guest, action), die_at[f"guest.{action}"])
    assert bench.is_gone(guest)
    assert left_of(guest, bench.lab_host) == []


def survive(bench: LiveBench, guest: Guest, operation: Operation, point: str) -> None:
    done = work(operation, die_at=point, data=Path(settings.DATA_DIR))
    assert done.returncode in (0, -9), done.stderr
    if done.returncode == -9:
        assert Operation.objects.get(pk=operation.pk).status == "running"
        lapse(operation)
        bench.settle()

    operation.refresh_from_db()
    assert (operation.status, operation.error_code) == ("succeeded", ""), (point, operation.error_detail)
    assert bench.findings() == [], point
    expected = RECIPES[operation.kind].power
    if expected is not None:
        assert bench.fresh(guest).seen_power == expected, point
        there = bench.lab_host.virsh("list", "--all", "--uuid").split().count(str(guest.pk))
        assert there == (expected != Power.ABSENT), point


def left_of(guest: Guest, host: LabHost) -> list[str]:
    """Everything on the host that bears the machine's id, in any spelling."""
    words = (str(guest.pk), guest.pk.hex)
    said = [host.virsh("list", "--all", "--uuid"), host.virsh("net-list", "--all"), host.virsh("nwfilter-list")]
    files = [str(path) for folder in (host.pool_dir, host.run_dir) for path in folder.rglob("*")]
    return [line for line in [*files, *"\n".join(said).splitlines()] if any(word in line for word in words)]


def test_files_of_guests_are_closed_to_everybody_else(bench: LiveBench) -> None:
    """P-B15."""
    guest = bench.guest()

    folder = bench.lab_host.pool_dir / "live" / "pool"
    assert folder.stat().st_mode & 0o777 == 0o711
    files = [path for path in folder.iterdir() if guest.pk.hex in path.name or path.name.startswith("vol-")]
    assert files
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []
    assert run(bench.ask(guest, "purge").pk) == "succeeded"


def test_another_portals_sweep_finds_nothing_of_ours_to_speak_of(bench: LiveBench) -> None:
    """Two portals on one libvirtd: to the second, the first one's machine is foreign."""
    guest = bench.guest()
    (mine,) = Installation.objects.all()
    Installation.objects.all().delete()
    stranger = Installation.objects.create(pk=str(uuid7()))
    Guest._base_manager.filter(pk=guest.pk).update(host=None)

    with every_tenant(why="test"):
        found = sweep(bench.host)

    assert (found["ours"], found["foreign"]) == (0, 1)
    assert not Drift.objects.exists()
    assert bench.lab_host.virsh("domstate", str(guest.pk)) == "running"
    stranger.delete()
    mine.save(force_insert=True)
    Guest._base_manager.filter(pk=guest.pk).update(host=bench.host)
    assert run(bench.ask(guest, "purge").pk) == "succeeded"
