"""Volumes in storage pools of several kinds: each lies in a pool of its class, is made as that can, and goes from there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operations.models import Operation
from operations.runner import run
from portal.core.errors import Conflict, Invalid
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.operations.kinds import lapse
from tests.portal.api.rest import Rest
from tests.support.crowd import meeting
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import Killed, at_points
from vms.berths import berth, pool_spec
from vms.hypervisor import fake
from vms.hypervisor.errors import Refused
from vms.hypervisor.fake import FakePool
from vms.hypervisor.xml.devices import Disk
from vms.models import Drift, Guest, Host, StorageClass, StoragePool, Volume
from vms.reconcile.sweep import sweep
from vms.selectors.installation import installation_owner
from vms.services.backups.create import backup_create
from vms.services.guests import guest_create
from vms.services.hosts import host_enrol, host_record_facts, host_record_heartbeat
from vms.services.placing import NoRoom
from vms.services.pools import PoolWish, pool_add, pool_offer, pool_remove
from vms.services.snapshots import snapshot_create
from vms.services.storage_classes import storage_class_write
from vms.services.volumes import volume_attach, volume_create, volume_delete, volume_detach, volume_extend
from vms.services.volumes.create import NoStorage
from vms.specs import GuestSpec, VolumeSpec
from vms.states import Power

pytestmark = pytest.mark.django_db

CEPH = {"servers": ("mon1", "mon2"), "account": "guesthouse", "secret": "0198a3c2-dddd-7cc0-b0e1-000000000001"}
KINDS = {
    "dir": {"path": "/srv/fast"},
    "shared": {"path": "/mnt/all"},
    "nfs": {"path": "/mnt/nfs", "source": "/export/gh", "servers": ("nfs.example.test",)},
    "lvm": {"source": "vg0"},
    "rbd": {"source": "gh", **CEPH},
}


@pytest.fixture
def gold(bench: Bench) -> StorageClass:
    return storage_class_write(None, name="gold", actor=factories.desk())


def added(bench: Bench, gold: StorageClass, kind: str, *, host: Host | None = None, word: str = "") -> StoragePool:
    """A pool of that kind, ready."""
    wish = PoolWish(word=word or kind, kind=kind, storage_class=gold, **KINDS[kind])  # type: ignore[arg-type]
    with every_tenant(why="test"):
        pool, operation = pool_add(host or bench.host, wish, actor=factories.desk())
    assert run(operation.pk) == "succeeded"
    return StoragePool.objects.select_related("host").get(pk=pool.pk)


def second_host(bench: Bench, *paths: str) -> Host:
    """Another host, which sees the same directories at ``paths``."""
    there = fake.host(f"{bench.name}-b")
    for path in paths:
        share = FakePool(path)
        bench.on_host.shares[path] = there.shares[path] = share
    with every_tenant(why="test"):
        name = f"{bench.name}-b"
        host, probe = host_enrol(
            uri=f"fake://{name}", name=name, data_dir=f"/data/{name}", run_dir=f"/run/{name}", actor=factories.desk()
        )
    assert run(probe.pk) == "succeeded"
    host_record_facts(host, facts={}, cpus=64, memory_mib=256 * 1024)
    host_record_heartbeat(host)
    host.refresh_from_db()
    return host


def asked(
    bench: Bench, gold: StorageClass, *, guest: Guest | None = None, image: bool = False
) -> tuple[Volume, Operation]:
    spec = VolumeSpec(name="data", size_gib=2, storage_class=gold, guest=guest, image=bench.image if image else None)
    with tenant_scope(bench.house.tenant):
        operation = volume_create(bench.house.tenant, spec, actor=bench.house.actor)
        return row(operation.subject_id), operation


def row(pk: object) -> Volume:
    with every_tenant(why="test"):
        return Volume.objects.select_related("pool__host", "guest", "storage_class", "tenant").get(pk=pk)


def made(bench: Bench, gold: StorageClass, *, guest: Guest | None = None, image: bool = False) -> Volume:
    volume, operation = asked(bench, gold, guest=guest, image=image)
    assert run(operation.pk) == "succeeded"
    return row(volume.pk)


def disk_of(bench: Bench, guest: Guest) -> Disk:
    spec = bench.on_host.domains[str(guest.pk)].spec
    assert spec is not None
    return next(disk for disk in spec.disks if disk.target == "vdb")


@pytest.mark.parametrize("kind", KINDS)
def test_a_volume_lives_and_ends_in_a_pool_of_its_class(kind: str, bench: Bench, gold: StorageClass) -> None:
    pool, guest = added(bench, gold, kind), bench.guest()

    volume = made(bench, gold, guest=guest)

    spot = berth(volume, bench.host, installation_owner())
    there = bench.on_host.pools[pool.name].volumes
    assert (volume.pool_id, list(there)) == (pool.pk, [spot.name])
    disk = disk_of(bench, guest)
    assert (disk.path, disk.lies, disk.format) == (spot.path, spot.ability.lies, spot.ability.format)
    assert (disk.ceph is not None) == (kind == "rbd")
    assert bench.findings() == []

    with tenant_scope(bench.house.tenant):
        assert run(volume_extend(volume, size_gib=3, actor=bench.house.actor).pk) == "succeeded"
    assert there[spot.name][0].capacity == 3 * 2**30
    for action in ("stop", "start"):
        assert run(bench.ask(guest, action).pk) == "succeeded"
    assert bench.findings() == []

    with tenant_scope(bench.house.tenant):
        assert run(volume_detach(row(volume.pk), actor=bench.house.actor).pk) == "succeeded"
        assert run(volume_delete(row(volume.pk), actor=bench.house.actor).pk) == "succeeded"
    assert there == {}
    assert bench.findings() == []


@pytest.mark.parametrize("kind", ["dir", "shared", "nfs", "lvm"])
def test_a_disk_of_an_image_is_thin_where_the_pool_can_and_else_a_whole_copy(
    kind: str, bench: Bench, gold: StorageClass
) -> None:
    pool, guest = added(bench, gold, kind), bench.guest()

    volume = made(bench, gold, guest=guest, image=True)

    [(seen, checksum)] = bench.on_host.pools[pool.name].volumes.values()
    assert (seen.capacity, bool(seen.backing_path), bool(checksum)) == (2 * 2**30, kind == "dir", kind != "dir")
    assert bool(disk_of(bench, guest).backing) == (kind == "dir")
    assert volume.state == "ready"
    assert bench.findings() == []


def test_a_ceph_pool_takes_empty_volumes_alone(bench: Bench, gold: StorageClass) -> None:
    """libvirt cannot fill an image of a cluster from a file."""
    added(bench, gold, "rbd")

    with pytest.raises(NoStorage):
        asked(bench, gold, image=True)


@pytest.mark.parametrize("point", ["disk:before", "disk:after"])
def test_half_a_copy_of_a_dead_worker_is_made_anew(point: str, bench: Bench, gold: StorageClass) -> None:
    pool = added(bench, gold, "lvm")
    volume, operation = asked(bench, gold, image=True)

    def die(passed: str) -> None:
        if passed.endswith(point):
            raise Killed

    with at_points(die), pytest.raises(Killed):
        run(operation.pk)
    volumes = bench.on_host.pools[pool.name].volumes
    for name, (seen, _checksum) in list(volumes.items()):
        volumes[name] = (seen, 0)  # half of it
    lapse(operation)
    bench.settle()

    [(_seen, checksum)] = volumes.values()
    assert checksum != 0
    assert (row(volume.pk).state, bench.findings()) == ("ready", [])


def test_what_hosts_share_goes_to_machines_on_any_of_them(bench: Bench, gold: StorageClass) -> None:
    other = second_host(bench, "/mnt/all")
    pools = [added(bench, gold, "shared", word="all", host=host) for host in (bench.host, other)]
    volume = made(bench, gold)
    guests = {}
    for host in (bench.host, other):
        Host.objects.exclude(pk=host.pk).update(maintenance=True)
        Host.objects.filter(pk=host.pk).update(maintenance=False)
        guests[host.pk] = bench.guest(Power.STOPPED)

    for pool in pools:
        guest = guests[pool.host_id]
        with tenant_scope(bench.house.tenant):
            assert run(volume_attach(row(volume.pk), guest, actor=bench.house.actor).pk) == "succeeded"
        assert row(volume.pk).pool == pool
        assert bench.findings() == []
        with tenant_scope(bench.house.tenant):
            assert run(volume_detach(row(volume.pk), actor=bench.house.actor).pk) == "succeeded"

    assert len(bench.on_host.pools[pools[0].name].volumes) == 1
    desk = Rest(factories.operator()[1])
    sold = {pool["id"]: pool["sold_gib"] for pool in desk.get("/storage-pools").json["items"]}
    assert [sold[str(pool.pk)] for pool in pools] == [2, 2]


def test_what_is_not_shared_stays_with_its_host(bench: Bench, gold: StorageClass) -> None:
    other = second_host(bench)
    added(bench, gold, "dir")
    volume = made(bench, gold)
    Host.objects.exclude(pk=other.pk).update(maintenance=True)
    guest = bench.guest(Power.STOPPED)

    with tenant_scope(bench.house.tenant), pytest.raises(Conflict) as refused:
        volume_attach(volume, guest, actor=bench.house.actor)

    assert refused.value.code == "other_host"


def test_a_machine_is_placed_where_its_classes_are(bench: Bench, gold: StorageClass) -> None:
    other = second_host(bench)
    spec = GuestSpec(
        name="web", flavor=bench.flavor, image=bench.image,
        volumes=(VolumeSpec(name="data", size_gib=1, storage_class=gold),),
    )  # fmt: skip
    with tenant_scope(bench.house.tenant), pytest.raises(NoRoom):
        guest_create(bench.house.tenant, spec, actor=bench.house.actor)

    pool = added(bench, gold, "dir", host=other)

    with tenant_scope(bench.house.tenant):
        operation = guest_create(bench.house.tenant, spec, actor=bench.house.actor)
    assert run(operation.pk) == "succeeded"
    with every_tenant(why="test"):
        guest = Guest.objects.get(pk=operation.subject_id)
        assert (guest.host, guest.volumes.get(position=1).pool) == (other, pool)
    assert bench.findings() == []
    assert run(bench.ask(guest, "purge").pk) == "succeeded"
    assert bench.findings() == []


def test_a_pool_that_takes_no_new_volumes_keeps_those_it_has(bench: Bench, gold: StorageClass) -> None:
    pool = added(bench, gold, "dir")
    volume = made(bench, gold)

    pool_offer(pool, enabled=False, actor=factories.desk())

    with pytest.raises(NoStorage):
        asked(bench, gold)
    with every_tenant(why="test"), pytest.raises(Conflict) as refused:
        pool_remove(pool, actor=factories.desk())
    assert refused.value.code == "pool_in_use"
    with tenant_scope(bench.house.tenant):
        assert run(volume_delete(volume, actor=bench.house.actor).pk) == "succeeded"
    with every_tenant(why="test"):
        operation = pool_remove(pool, actor=factories.desk())
    assert run(operation.pk) == "succeeded"
    assert (pool.name in bench.on_host.pools, StoragePool.objects.filter(pk=pool.pk).exists()) == (False, False)


def test_a_hosts_own_directory_is_not_given_up(bench: Bench) -> None:
    home = StoragePool.objects.get()

    with every_tenant(why="test"), pytest.raises(Conflict) as refused:
        pool_remove(home, actor=factories.desk())

    assert refused.value.code == "pool_is_home"


def test_why_a_pool_is_not_ready_stands_on_its_page_and_it_can_be_prepared_again(
    bench: Bench, gold: StorageClass
) -> None:
    bench.on_host.fail("ensure_pool_as", Refused("mount.nfs: access denied"))
    wish = PoolWish(word="nfs", kind="nfs", storage_class=gold, **KINDS["nfs"])  # type: ignore[arg-type]
    pool, operation = pool_add(bench.host, wish, actor=factories.desk())
    assert run(operation.pk) == "failed"

    desk = Rest(factories.operator()[1])
    seen = desk.get(f"/storage-pools/{pool.pk}").json
    assert (seen["ready_at"], "access denied" in seen["problem"]) == (None, True)
    again = desk.post(f"/storage-pools/{pool.pk}/prepare")
    assert (again.status, run(again.json["id"])) == (202, "succeeded")
    after = desk.get(f"/storage-pools/{pool.pk}").json
    assert (after["ready_at"] is not None, after["problem"]) == (True, None)

    bench.on_host.fail("ensure_pool_as", Refused("mount.nfs: server is down"))
    assert run(desk.post(f"/storage-pools/{pool.pk}/prepare").json["id"]) == "failed"
    assert "down" in desk.get(f"/storage-pools/{pool.pk}").json["problem"]
    assert run(desk.post(f"/storage-pools/{pool.pk}/prepare").json["id"]) == "succeeded"
    mended = desk.get(f"/storage-pools/{pool.pk}").json
    assert (mended["ready_at"], mended["problem"]) == (after["ready_at"], None)


@pytest.mark.parametrize(
    ("kind", "change", "field"),
    [
        ("dir", {"path": "/etc/../srv"}, "/path"),
        ("dir", {"path": "relative"}, "/path"),
        ("dir", {"path": "/srv/a b"}, "/path"),
        ("dir", {"path": ""}, "/path"),
        ("dir", {"word": "../x"}, "/word"),
        ("dir", {"servers": ("x",)}, "/servers"),
        ("nfs", {"servers": ()}, "/servers"),
        ("nfs", {"servers": ("a,b",)}, "/servers"),
        ("nfs", {"source": "export"}, "/source"),
        ("lvm", {"source": "a/../b"}, "/source"),
        ("rbd", {"secret": ""}, "/secret"),
        ("rbd", {"secret": "x" * 36}, "/secret"),
        ("rbd", {"servers": ()}, "/servers"),
        ("floppy", {}, "/kind"),
    ],
)
def test_what_is_no_pool_is_refused(
    kind: str, change: dict[str, object], field: str, bench: Bench, gold: StorageClass
) -> None:
    wish = PoolWish(word="x", kind=kind, storage_class=gold, **KINDS.get(kind, {}))  # type: ignore[arg-type]

    with pytest.raises(Invalid) as refused:
        pool_add(bench.host, replace(wish, **change), actor=factories.desk())  # type: ignore[arg-type]

    assert [fault.pointer for fault in refused.value.errors] == [field]


def test_two_pools_of_a_host_do_not_lie_in_each_other_and_what_is_shared_is_the_same(
    bench: Bench, gold: StorageClass
) -> None:
    added(bench, gold, "dir")
    for path in ("/srv/fast/in", "/srv", f"{bench.host.data_dir}/pool"):
        with pytest.raises(Invalid):
            pool_add(bench.host, PoolWish(word="x", kind="dir", storage_class=gold, path=path), actor=factories.desk())
    added(bench, gold, "shared", word="all")
    wish = PoolWish(word="all", kind="shared", storage_class=gold, path="/mnt/elsewhere")
    with pytest.raises(Invalid) as refused:
        pool_add(second_host(bench), wish, actor=factories.desk())

    assert [fault.code for fault in refused.value.errors] == ["other_storage"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["on one host", "on two hosts"])
def test_of_two_that_are_added_at_once_under_one_name_the_second_is_refused(
    where: str, bench: Bench, gold: StorageClass
) -> None:
    hosts = [bench.host, bench.host if where == "on one host" else second_host(bench)]
    wishes = [PoolWish(word="all", kind="shared", storage_class=gold, path=f"/mnt/{path}") for path in ("one", "two")]
    first, second = (
        lambda host=host, wish=wish: pool_add(host, wish, actor=factories.desk())
        for host, wish in zip(hosts, wishes, strict=True)
    )

    refused = meeting(first, second, lambda: None)

    assert isinstance(refused, Invalid), refused
    assert {fault.code for fault in refused.errors} <= {"taken", "other_storage"}
    assert StoragePool.objects.filter(share="all").count() == 1


def test_the_sweep_sees_what_is_missing_or_stray_in_every_pool_and_what_is_written(
    bench: Bench, gold: StorageClass
) -> None:
    pool = added(bench, gold, "dir")
    volume = made(bench, gold)
    files = bench.on_host.pools[pool.name].volumes
    name, (seen, checksum) = next(iter(files.items()))
    del files[name]
    stray = "vol-" + "0" * 32 + ".qcow2"
    files[stray] = (replace(seen, name=stray, allocation=4096), checksum)

    with every_tenant(why="test"):
        sweep(bench.host)

    found = {(drift.kind, drift.subject) for drift in Drift.objects.all()}
    assert {("missing_volume", str(volume.pk)), ("stray_volume", stray)} <= found
    pool.refresh_from_db()
    assert pool.written == 4096
    assert len(bench.findings()) == 2


def test_no_backup_is_made_of_a_machine_with_a_disk_elsewhere(bench: Bench, gold: StorageClass) -> None:
    added(bench, gold, "lvm")
    guest = bench.guest()
    made(bench, gold, guest=guest)

    with tenant_scope(bench.house.tenant), pytest.raises(Conflict) as refused:
        backup_create(bench.fresh(guest), actor=bench.house.actor)

    assert refused.value.code == "no_backups_there"


def test_no_snapshot_is_taken_of_what_lies_elsewhere(bench: Bench, gold: StorageClass) -> None:
    added(bench, gold, "lvm")
    guest = bench.guest()
    volume = made(bench, gold, guest=guest)

    for of in (bench.fresh(guest), volume):
        with tenant_scope(bench.house.tenant), pytest.raises(Conflict) as refused:
            snapshot_create(of, name="s", actor=bench.house.actor)
        assert refused.value.code == "no_snapshots_there"


def test_a_pool_is_told_to_libvirt_as_its_row_says(bench: Bench, gold: StorageClass) -> None:
    spec = pool_spec(added(bench, gold, "rbd"))

    assert (spec.type, spec.source, spec.servers, spec.path) == ("rbd", "gh", ("mon1", "mon2"), "")
    assert spec.ceph is not None
    assert (spec.ceph.name, spec.ceph.secret) == (CEPH["account"], CEPH["secret"])
