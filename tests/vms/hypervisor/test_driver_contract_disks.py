"""What every driver promises of a domain's disks; tried on the host in memory and on a real libvirtd with real QEMU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.vms.hypervisor.conftest import OWNER, STRANGER, World
from vms.hypervisor.disks import SeenDisk
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.xml.devices import Disk, IoTune
from vms.hypervisor.xml.domain import DomainSpec

MIB = 1024 * 1024
NOBODY = "00000000-0000-4000-8000-000000000000"
SPARES = 2


def volume(world: World, name: str, capacity: int = 4 * MIB) -> Disk:
    """An empty volume, and how a domain would have it: the first as vdb, the second as vdc, …"""
    world.hypervisor.ensure_pool(world.pool, str(world.pool_path))
    made = world.hypervisor.create_empty(world.pool, f"{name}.qcow2", capacity=capacity)
    return Disk(path=made.path, target=f"vd{name}", serial=f"serial-{name}", backing=())


def machine(world: World, *, runs: bool) -> DomainSpec:
    spec = world.defined(spare_ports=SPARES)
    if runs:
        world.hypervisor.start(spec.uuid)
    return spec


@pytest.mark.parametrize("runs", [True, False], ids=["running", "off"])
def test_a_disk_comes_and_goes_now_and_for_the_next_start(world: World, runs: bool):
    spec, disks = machine(world, runs=runs), [volume(world, name) for name in "bc"]
    attach, detach = world.hypervisor.attach_disk, world.hypervisor.detach_disk

    for _twice in range(2):
        for disk in disks:  # as many as the machine has spare ports
            attach(spec.uuid, disk, owner=OWNER, roots=world.roots)
        seen = world.hypervisor.disks(spec.uuid)
        wanted = tuple(SeenDisk(disk.path, disk.target) for disk in disks)
        assert seen.kept == wanted
        assert seen.live == (wanted if runs else None)
        assert seen.paths() == {disk.path for disk in disks}

    if runs:
        world.hypervisor.pull_plug(spec.uuid)  # its firmware would let go of nothing
    for disk in (disks[0], *disks):
        detach(spec.uuid, disk.path, owner=OWNER, timeout_s=5)
    assert world.hypervisor.disks(spec.uuid).paths() == frozenset()


def test_what_was_done_by_half_is_finished(world: World):
    spec, disk = machine(world, runs=True), volume(world, "b")
    world.hypervisor.attach_disk(spec.uuid, disk, owner=OWNER, roots=world.roots)
    world.hypervisor.define(spec, roots=world.roots)
    assert world.hypervisor.disks(spec.uuid).kept == ()

    world.hypervisor.attach_disk(spec.uuid, disk, owner=OWNER, roots=world.roots)

    seen = world.hypervisor.disks(spec.uuid)
    assert seen.kept == seen.live == (SeenDisk(disk.path, disk.target),)


def test_a_disk_in_anothers_place_or_outside_is_refused(world: World):
    spec, first, second = machine(world, runs=True), volume(world, "b"), volume(world, "c")
    world.hypervisor.attach_disk(spec.uuid, first, owner=OWNER, roots=world.roots)

    for bad in (replace(second, target="vdb"), replace(second, path="/etc/passwd"), replace(second, path="../x")):
        with pytest.raises(Refused):
            world.hypervisor.attach_disk(spec.uuid, bad, owner=OWNER, roots=world.roots)

    seen = world.hypervisor.disks(spec.uuid)
    assert seen.kept == seen.live == (SeenDisk(first.path, first.target),)


def test_other_peoples_domains_keep_their_disks(world: World):
    spec, disk = machine(world, runs=False), volume(world, "b")
    world.hypervisor.attach_disk(spec.uuid, disk, owner=OWNER, roots=world.roots)

    with pytest.raises(Refused):
        world.hypervisor.detach_disk(spec.uuid, disk.path, owner=STRANGER, timeout_s=1)
    with pytest.raises(Refused):
        world.hypervisor.attach_disk(spec.uuid, volume(world, "c"), owner=STRANGER, roots=world.roots)
    with pytest.raises(Refused):
        world.hypervisor.limit_disk(spec.uuid, disk.path, IoTune(iops=5), owner=STRANGER)

    assert world.hypervisor.disks(spec.uuid).kept == (SeenDisk(disk.path, disk.target),)


def test_of_what_is_not_there_nothing_is_let_go_and_nothing_looked_at(world: World):
    world.hypervisor.detach_disk(NOBODY, "/srv/pool/x", owner=OWNER, timeout_s=1)
    with pytest.raises(Missing):
        world.hypervisor.disks(NOBODY)
    with pytest.raises(Missing):
        world.hypervisor.attach_disk(NOBODY, volume(world, "b"), owner=OWNER, roots=world.roots)
    with pytest.raises(Missing):
        world.hypervisor.resize_volume(world.pool, "nothing.qcow2", capacity=MIB)
    world.hypervisor.wipe_volume(world.pool, "nothing.qcow2")


@pytest.mark.parametrize("runs", [True, False], ids=["running", "off"])
def test_limits_change_now_and_for_the_next_start(world: World, runs: bool):
    spec, disk = machine(world, runs=runs), volume(world, "b")
    world.hypervisor.attach_disk(spec.uuid, disk, owner=OWNER, roots=world.roots)
    with pytest.raises(Missing):
        world.hypervisor.limit_disk(spec.uuid, disk.path + "x", IoTune(iops=5), owner=OWNER)

    for tune in (IoTune(bytes_per_s=3 * MIB, iops=70), IoTune(iops=70), None):
        for _twice in range(2):
            world.hypervisor.limit_disk(spec.uuid, disk.path, tune, owner=OWNER)
            limits = tune or IoTune()
            wanted = (SeenDisk(disk.path, disk.target, limits.bytes_per_s or 0, limits.iops or 0),)
            seen = world.hypervisor.disks(spec.uuid)
            assert (seen.kept, seen.live) == (wanted, wanted if runs else None)


@pytest.mark.parametrize("runs", [True, False], ids=["running", "off"])
def test_a_volume_grows_and_never_shrinks(world: World, runs: bool):
    spec, disk = machine(world, runs=runs), volume(world, "b")
    world.hypervisor.attach_disk(spec.uuid, disk, owner=OWNER, roots=world.roots)
    name = Path(disk.path).name

    for capacity, then in ((8 * MIB, 8), (8 * MIB, 8), (6 * MIB, 8), (16 * MIB, 16)):
        grown = world.hypervisor.resize_volume(world.pool, name, capacity=capacity, uuid=spec.uuid)
        assert grown.capacity == then * MIB
        seen = world.hypervisor.volume(world.pool, name)
        assert seen is not None
        assert (seen.capacity, seen.format) == (then * MIB, "qcow2")


def test_a_wiped_volume_holds_nothing_and_can_be_wiped_again(world: World):
    disk = volume(world, "b")
    name, steps = Path(disk.path).name, []

    for _twice in range(2):
        world.hypervisor.wipe_volume(world.pool, name, progress=lambda done, size: steps.append((done, size)))
        seen = world.hypervisor.volume(world.pool, name)
        assert seen is not None
        assert seen.format == "raw"
    if world.pool_path.exists():
        assert not any((world.pool_path / name).read_bytes())
    assert steps[-1][0] == steps[-1][1] > 0
