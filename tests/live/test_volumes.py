"""P-B12 for real: a volume's life on a libvirt host of the lab, its worker killed at a step of each operation.

One machine boots meanwhile; what is asked of its disks holds whether its system listens already or not.
"""

from __future__ import annotations

import datetime
import random
from pathlib import Path

import pytest
from django.conf import settings

from operations.models import Operation
from operations.runner import run
from portal.core.units import GIB
from tests.live.livebench import LiveBench, work
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.test_volume_kill_points import points_of
from tests.vms.reconcile.volume_lives import VOLUME_RECIPES, Disks
from vms.hypervisor import fake, pool
from vms.hypervisor.disks import SeenDisks
from vms.models import Guest, Host, StorageClass, Volume
from vms.names import pool_name, volume_name
from vms.selectors.installation import installation_owner

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def volume_steps(db: None, settings: object, tmp_path: Path) -> dict[str, list[str]]:
    """The checkpoints of each recipe, as a host in memory shows them."""
    pool.register("fake", fake.connect)
    settings.DATA_DIR = tmp_path  # type: ignore[attr-defined]
    disks = Disks(Bench(tmp_path))
    found = {name: points_of(recipe, disks) for name, recipe in VOLUME_RECIPES.items()}
    Host.objects.update(enabled=False)  # it takes no more machines: the real one is to have them
    StorageClass.objects.update(scrub="zero")
    return found


def test_a_killed_worker_is_taken_over_on_a_real_host(
    volume_steps: dict[str, list[str]], request: pytest.FixtureRequest
) -> None:
    chosen = random.Random(datetime.datetime.now(datetime.UTC).date().isoformat())
    bench: LiveBench = request.getfixturevalue("bench")
    disks = Disks(bench)
    guest = bench.guest()

    def survive(name: str, volume: Volume, operation: Operation) -> None:
        point = chosen.choice(volume_steps[name])
        done = work(operation, die_at=point, data=Path(settings.DATA_DIR))
        assert done.returncode in (0, -9), done.stderr
        if done.returncode == -9:
            lapse(operation)
            bench.settle()
        operation.refresh_from_db()
        assert (operation.status, operation.error_code) == ("succeeded", ""), (point, operation.error_detail)
        assert bench.findings() == [], point

    volume, operation = disks.ask_create(guest, image=False)
    survive("create on a running machine", volume, operation)
    assert where(bench, guest, volume) == {"live", "kept"}
    assert run(disks.ask(volume, "limit", iops=100, mbps=5).pk) == "succeeded"
    assert {disk.iops for disk in seen(bench, guest).kept if volume.pk.hex in disk.path} == {100}
    survive("extend on a running machine", volume, disks.ask(volume, "extend", size_gib=3))
    survive("detach from a running machine", volume, disks.ask(volume, "detach"))
    assert where(bench, guest, volume) == set()
    survive("attach to a running machine", volume, disks.ask(volume, "attach", guest))
    assert where(bench, guest, volume) == {"live", "kept"}
    disks.ask(volume, "edit", boot_order=1)
    assert run(bench.ask(guest, "stop").pk) == "succeeded"
    assert run(bench.ask(guest, "start").pk) == "succeeded"
    order = {disk.target: disk.boot_order for disk in seen(bench, guest).live or ()}
    assert order == {"vda": 2, "vdb": 1, "vdz": 0}
    assert run(bench.ask(guest, "purge").pk) == "succeeded"
    assert disks.fresh(volume.pk).guest is None
    assert run(disks.ask(volume, "extend", size_gib=4).pk) == "succeeded"
    assert file_size(bench, volume) == 4 * GIB
    survive("delete with zeros", volume, disks.ask(volume, "delete"))
    assert file_size(bench, volume) is None


def seen(bench: LiveBench, guest: Guest) -> SeenDisks:
    return pool.get(bench.host.uri).disks(str(guest.pk))


def where(bench: LiveBench, guest: Guest, volume: Volume) -> set[str]:
    """Which definitions of the machine have the disk."""
    disks = seen(bench, guest)
    found = {"live": disks.live or (), "kept": disks.kept}
    return {name for name, each in found.items() if any(volume.pk.hex in disk.path for disk in each)}


def file_size(bench: LiveBench, volume: Volume) -> int | None:
    found = pool.get(bench.host.uri).volume(pool_name(installation_owner()), volume_name(volume.pk))
    return None if found is None else found.capacity
