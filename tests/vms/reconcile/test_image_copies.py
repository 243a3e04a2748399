"""Images on hosts: sent whole, written down, taken away when nothing stands on them; also by workers that die."""

from __future__ import annotations

import struct
from datetime import timedelta

import pytest

from operations.models import Operation
from operations.runner import run
from portal.core.clock import now
from portal.core.errors import Conflict
from tenants.scoping import every_tenant
from tests import factories
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import SIZE, Bench
from tests.vms.reconcile.lives import Killed, at_points
from vms.hypervisor.driver import SeenVolume
from vms.models import Drift, ImageCopy
from vms.names import base_name, pool_name
from vms.reconcile.sweep import sweep
from vms.selectors.installation import installation_owner
from vms.services.image_copies import copies_tidy, copy_evict
from vms.services.images import image_delete

pytestmark = pytest.mark.django_db
QCOW2 = b"QFI\xfb" + struct.pack(">IQIIQ", 3, 0, 0, 16, SIZE) + bytes(4096)


def copies_on(bench: Bench) -> list[str]:
    return sorted(name for pool in bench.on_host.pools.values() for name in pool.volumes if name.startswith("img-"))


def lie(bench: Bench, name: str, *, on: str = "") -> None:
    """A file that is there, though no verb of ours has made it whole; over the file ``on``."""
    pool = bench.on_host.pools[pool_name(installation_owner())]
    below = f"{pool.path}/{on}" if on else ""
    pool.volumes[name] = (SeenVolume(name, f"{pool.path}/{name}", "qcow2", SIZE, 10, below), 0)


def unused(bench: Bench) -> ImageCopy:
    """The copy that a machine, purged since, was made of."""
    assert run(bench.ask(bench.guest(), "purge").pk) == "succeeded"
    return ImageCopy.objects.get()


def evict(bench: Bench) -> Operation:
    copy = unused(bench)
    with every_tenant(why="test"):
        return copy_evict(copy, actor=factories.desk())


def delete(bench: Bench) -> Operation:
    unused(bench)
    with every_tenant(why="test"):
        return image_delete(bench.image, actor=factories.desk())


def test_the_first_machine_brings_the_copy_and_the_second_uses_it(bench: Bench) -> None:
    bench.guest(), bench.guest()

    copy = ImageCopy.objects.get()
    assert copies_on(bench) == [copy.name] == [base_name(bench.image.pk, bench.image.sha256)]
    assert bench.on_host.calls["upload_volume"] == 3, "one image, two seeds"
    assert bench.findings() == []


def test_a_copy_whose_worker_died_half_way_is_sent_again(bench: Bench) -> None:
    """Half of an image was taken for the whole, and disks were laid over it."""
    guest, operation = bench.ask_create()

    die_once(operation, "guest.create:image:before")
    lie(bench, base_name(bench.image.pk, bench.image.sha256))
    bench.settle()

    assert bench.fresh(guest).seen_power == "running"
    (checksum,) = {
        checksum for pool in bench.on_host.pools.values() for name, (_v, checksum) in pool.volumes.items()
        if name.startswith("img-")
    }  # fmt: skip
    assert checksum != 0
    assert bench.findings() == []


def test_a_copy_that_disks_stand_on_stays(bench: Bench) -> None:
    bench.guest()
    copy = ImageCopy.objects.get()

    with every_tenant(why="test"), pytest.raises(Conflict) as refused:
        copy_evict(copy, actor=factories.desk())

    assert refused.value.code == "copy_in_use"


def test_a_copy_that_a_file_on_the_host_stands_on_stays_though_no_row_says_so(bench: Bench) -> None:
    operation = evict(bench)
    name = base_name(bench.image.pk, bench.image.sha256)
    lie(bench, "vol-stray.qcow2", on=name)

    assert run(operation.pk) == "failed"

    assert copies_on(bench) == [name]
    assert ImageCopy.objects.get().ready_at is not None


def test_a_machine_that_comes_while_the_copy_goes_brings_it_again(bench: Bench) -> None:
    going = evict(bench)
    guest, operation = bench.ask_create()

    assert run(operation.pk) == "queued"
    assert run(going.pk) == "failed", "a disk is about to stand on it"
    bench.settle()

    assert bench.fresh(guest).seen_power == "running"
    assert bench.findings() == []


def test_what_nobody_has_used_for_a_month_goes_by_itself(bench: Bench) -> None:
    unused(bench)

    with every_tenant(why="test"):
        assert copies_tidy(at=now() + timedelta(days=29)) == 0
        assert copies_tidy(at=now() + timedelta(days=31)) == 1
    bench.settle()

    assert copies_on(bench) == []
    assert not ImageCopy.objects.exists()


def test_the_sweep_writes_down_what_an_older_portal_left(bench: Bench) -> None:
    bench.guest()
    ImageCopy.objects.all().delete()
    stray = f"img-{'0' * 32}-{'0' * 12}.qcow2"
    lie(bench, stray)

    with every_tenant(why="test"):
        sweep(bench.host)

    assert ImageCopy.objects.get().image == bench.image
    assert Drift.objects.get().subject == stray


def test_a_worker_killed_at_any_point_leaves_nothing_half_done(bench: Bench) -> None:
    """W1."""
    for kind, ask in {"image.evict": evict, "image.delete": delete}.items():
        for point in (f"{kind}:drop_copy:before", f"{kind}:drop_copy:after"):
            operation = ask(bench)
            die_once(operation, point)
            bench.settle()

            assert Operation.objects.get(pk=operation.pk).status == "succeeded"
            assert copies_on(bench) == []
            assert bench.findings() == []
            if kind == "image.delete":
                bench.image = factories.image(f"after-{point}", virtual_size=SIZE, size=4096)
                bench.place_image(QCOW2)


def die_once(operation: Operation, point: str) -> None:
    """A worker dies there; its lease lapses."""

    def die(here: str) -> None:
        if here == point:
            raise Killed

    with at_points(die), pytest.raises(Killed):
        run(operation.pk)
    lapse(operation)
