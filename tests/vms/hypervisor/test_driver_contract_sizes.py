"""What every driver promises of sizes: a machine and its disk grow while it runs, never past what its definition says."""

from __future__ import annotations

import pytest

from tests.vms.hypervisor.conftest import World
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.sizes import BLOCK_MIB, SLOTS, SeenSize
from vms.hypervisor.xml.domain import Disk, DomainSpec
from vms.states import Power

NOBODY = "00000000-0000-4000-8000-000000000000"
MIB = 1024 * 1024


def growing(world: World) -> DomainSpec:
    spec = world.defined(vcpus=1, memory_mib=64, vcpus_max=3, memory_mib_max=64 + 3 * BLOCK_MIB)
    world.hypervisor.start(spec.uuid)
    return spec


def test_a_machine_tells_its_size_and_how_far_it_can_grow(world: World) -> None:
    fixed = world.defined("gh-contract-b", vcpus=2, memory_mib=64)
    spec = growing(world)

    assert world.hypervisor.size(spec.uuid) == SeenSize(1, 64, 3, 64 + 3 * BLOCK_MIB, SLOTS)
    assert world.hypervisor.size(fixed.uuid) == SeenSize(2, 64, 2, 64, 0)
    with pytest.raises(Missing):
        world.hypervisor.size(NOBODY)


def test_a_running_machine_grows_and_again_changes_nothing(world: World) -> None:
    spec = growing(world)

    for _ in range(2):
        world.hypervisor.add_vcpus(spec.uuid, 2)
        world.hypervisor.add_memory(spec.uuid, 64 + BLOCK_MIB)
    world.hypervisor.add_memory(spec.uuid, 64)
    world.hypervisor.add_vcpus(spec.uuid, 1)

    assert world.hypervisor.size(spec.uuid) == SeenSize(2, 64 + BLOCK_MIB, 3, 64 + 3 * BLOCK_MIB, SLOTS - 1)
    assert world.hypervisor.domain(spec.uuid).power is Power.RUNNING  # type: ignore[union-attr]


def test_a_grown_machine_sleeps_and_wakes_in_its_size(world: World) -> None:
    spec = growing(world)
    world.hypervisor.add_memory(spec.uuid, 64 + BLOCK_MIB)

    world.hypervisor.save(spec.uuid)
    world.hypervisor.start(spec.uuid)

    assert world.hypervisor.size(spec.uuid).memory_mib == 64 + BLOCK_MIB


def test_it_does_not_grow_past_its_definition(world: World) -> None:
    spec = growing(world)

    with pytest.raises(Refused):
        world.hypervisor.add_vcpus(spec.uuid, 4)
    with pytest.raises(Refused):
        world.hypervisor.add_memory(spec.uuid, 64 + 4 * BLOCK_MIB)
    with pytest.raises(Refused):
        world.hypervisor.add_memory(spec.uuid, 64 + BLOCK_MIB // 2)

    assert world.hypervisor.size(spec.uuid) == SeenSize(1, 64, 3, 64 + 3 * BLOCK_MIB, SLOTS)


@pytest.mark.parametrize("running", [False, True], ids=["off", "running"])
def test_a_disk_grows_under_its_machine_and_never_shrinks(running: bool, world: World) -> None:
    world.hypervisor.ensure_pool(world.pool, str(world.pool_path))
    volume = world.hypervisor.create_empty(world.pool, "disk.qcow2", capacity=8 * MIB)
    spec = world.defined(disks=(Disk(path=volume.path, target="vda", backing=()),))
    if running:
        world.hypervisor.start(spec.uuid)

    for _ in range(2):
        grown = world.hypervisor.resize_volume(world.pool, "disk.qcow2", capacity=16 * MIB, uuid=spec.uuid)
    smaller = world.hypervisor.resize_volume(world.pool, "disk.qcow2", capacity=8 * MIB, uuid=spec.uuid)

    assert (grown.capacity, smaller.capacity) == (16 * MIB, 16 * MIB)
    with pytest.raises(Missing):
        world.hypervisor.resize_volume(world.pool, "none.qcow2", capacity=8 * MIB)
