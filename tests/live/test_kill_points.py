"""W1, P-B15 for real: a worker's process kills itself at a step of each kind of operation, on a libvirt host of the lab.

``--long`` goes on until every step of every kind has been tried; the plain run tries one of each, chosen anew each day.
"""

from __future__ import annotations

import datetime
import random
from pathlib import Path

import pytest
from django.conf import settings

from operations.models import Operation
from operations.runner import run
from portal.core.ids import uuid7
from tenants.scoping import every_tenant
from tests.live.livebench import LiveBench, left_of, work
from tests.operations.kinds import lapse
from tests.vms.reconcile.lives import RECIPES
from vms.models import Drift, Guest, Installation
from vms.reconcile.sweep import sweep
from vms.states import Power

pytestmark = pytest.mark.django_db(transaction=True)
LIFE = (
    "pause",
    "resume",
    "suspend",
    "wake",
    "reset",
    "resize",
    "rescue",
    "unrescue",
    "rebuild",
    "stop",
    "start",
    "delete",
    "restore",
    "purge",
)
"""One machine's way through everything that needs no answer from inside of it."""


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
