"""Snapshots for real: on a libvirt host of the lab, the worker killed at a step of each operation; disks stay whole."""

from __future__ import annotations

import datetime
import random
from pathlib import Path

import pytest
from django.conf import settings

from operations.models import Operation
from operations.runner import run
from tenants.scoping import every_tenant
from tests.live.livebench import LiveBench, work
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.snapshot_lives import SNAPSHOT_RECIPES, Shots
from tests.vms.reconcile.test_snapshot_kill_points import points_of
from vms.hypervisor import fake, pool
from vms.models import Guest, Host, Snapshot, Volume
from vms.names import pool_name, snapshot_name, volume_name
from vms.selectors.installation import installation_owner
from vms.states import Power

pytestmark = pytest.mark.django_db(transaction=True)
TRIED = ("create, running", "create with memory", "revert with memory", "revert, running", "delete, off")


@pytest.fixture
def snapshot_steps(db: None, settings: object, tmp_path: Path) -> dict[str, list[str]]:
    """The checkpoints of each recipe, as a host in memory shows them."""
    pool.register("fake", fake.connect)
    settings.DATA_DIR = tmp_path  # type: ignore[attr-defined]
    shots = Shots(Bench(tmp_path))
    found = {name: points_of(SNAPSHOT_RECIPES[name], shots) for name in TRIED}
    Host.objects.update(enabled=False)  # it takes no more machines: the real one is to have them
    return found


def test_a_killed_worker_is_taken_over_on_a_real_host(
    snapshot_steps: dict[str, list[str]], request: pytest.FixtureRequest
) -> None:
    chosen = random.Random(datetime.datetime.now(datetime.UTC).date().isoformat())
    bench: LiveBench = request.getfixturevalue("bench")
    shots = Shots(bench)
    guest = bench.guest()

    def survive(name: str, operation: Operation, power: Power) -> None:
        point = chosen.choice(snapshot_steps[name])
        done = work(operation, die_at=point, data=Path(settings.DATA_DIR))
        assert done.returncode in (0, -9), done.stderr
        if done.returncode == -9:
            lapse(operation)
            bench.settle()
        operation.refresh_from_db()
        assert (operation.status, operation.error_code) == ("succeeded", ""), (point, operation.error_detail)
        assert bench.fresh(guest).seen_power == power, point
        assert bench.findings() == [], point

    plain, operation = shots.ask_create(guest)
    survive("create, running", operation, Power.RUNNING)
    assert shots.fresh(plain.pk).consistency in ("frozen", "power_cut")
    awake, operation = shots.ask_create(guest, memory=True)
    survive("create with memory", operation, Power.RUNNING)
    assert held(bench, guest) == {plain.pk, awake.pk}
    survive("revert with memory", shots.ask(awake, "revert", memory=True), Power.RUNNING)
    survive("revert, running", shots.ask(plain, "revert"), Power.STOPPED)
    survive("delete, off", shots.ask(plain, "delete"), Power.STOPPED)
    assert held(bench, guest) == {awake.pk}
    assert run(bench.ask(guest, "start").pk) == "succeeded"
    assert run(shots.ask(awake, "delete").pk) == "succeeded"
    assert held(bench, guest) == set()
    assert run(bench.ask(guest, "purge").pk) == "succeeded"
    assert bench.findings() == []


def held(bench: LiveBench, guest: Guest) -> set[object]:
    """The snapshots that the machine's first disk holds."""
    with every_tenant(why="test"):
        root = Volume.objects.get(guest=guest, position=0)
        rows = {snapshot_name(row.pk): row.pk for row in Snapshot.objects.all()}
    seen = pool.get(bench.host.uri).snapshots(pool_name(installation_owner()), volume_name(root.pk))
    return {rows[each.name] for each in seen}
