"""What every driver promises of pools besides our own directory, and of whole copies; and two real hosts over one directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.hosts import Host, Lab
from tests.vms.hypervisor.conftest import World
from vms.disks.convert import to_qcow2
from vms.hypervisor import libvirt_driver
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.xml.pool import PoolSpec

MIB = 1024 * 1024
OTHER = "gh-contract-other"


@pytest.fixture
def base(world: World, tmp_path: Path) -> Iterator[str]:
    """An image's copy of 4 MiB in the host's own directory, and another pool beside that."""
    raw, file = tmp_path / "base.raw", tmp_path / "base.qcow2"
    raw.write_bytes(b"genuine bytes " * (4 * MIB // 14) + bytes(4 * MIB % 14))
    to_qcow2(raw, file, source_format="raw")
    world.hypervisor.ensure_pool(world.pool, str(world.pool_path))
    world.hypervisor.upload_volume(world.pool, "base.qcow2", file, disk_format="qcow2")
    world.hypervisor.ensure_pool_as(spec(world))
    yield "base.qcow2"
    for volume in world.hypervisor.volumes(OTHER):
        world.hypervisor.delete_volume(OTHER, volume.name)
    world.hypervisor.remove_pool(OTHER)


def spec(world: World, *, folder: str = "other") -> PoolSpec:
    return PoolSpec(name=OTHER, path=f"{world.pool_path.parent}/{folder}")


def test_a_pool_is_the_same_the_second_time_and_never_another_one(world: World, base: str) -> None:
    seen = world.hypervisor.ensure_pool_as(spec(world))

    assert (seen.name, seen.path) == (OTHER, spec(world).path)
    assert seen.capacity > 0
    with pytest.raises(Refused):
        world.hypervisor.ensure_pool_as(spec(world, folder="elsewhere"))


def test_an_overlay_stands_on_a_base_in_another_pool(world: World, base: str) -> None:
    made = world.hypervisor.create_overlay(OTHER, "vol-1", base=base, base_pool=world.pool, capacity=8 * MIB)

    assert (made.capacity, made.backing_path) == (8 * MIB, f"{world.pool_path}/{base}")
    with pytest.raises(Missing):
        world.hypervisor.create_overlay(OTHER, "vol-2", base=base, capacity=8 * MIB)


def test_a_whole_copy_stands_on_nothing_and_replaces_half_of_one(world: World, base: str) -> None:
    hv = world.hypervisor
    hv.create_empty(OTHER, "vol-1", capacity=MIB)

    made = hv.copy_volume(OTHER, "vol-1", base_pool=world.pool, base=base, capacity=8 * MIB, disk_format="qcow2")

    assert (made.name, made.format, made.backing_path) == ("vol-1", "qcow2", "")
    assert hv.volume(OTHER, "vol-1").capacity == 8 * MIB  # type: ignore[union-attr]
    raw = hv.copy_volume(OTHER, "vol-2", base_pool=world.pool, base=base, capacity=4 * MIB, disk_format="raw")
    assert raw.format == "raw"
    with pytest.raises(Missing):
        hv.copy_volume(OTHER, "vol-3", base_pool=world.pool, base="none", capacity=MIB, disk_format="qcow2")


@pytest.fixture
def pair(lab: Lab, lab_host: Host) -> Iterator[list[Hypervisor]]:
    """Two hosts that see one directory, as by a mount."""
    hosts = lab.up(2)
    made = [libvirt_driver.connect(host.uri) for host in hosts]
    yield made
    for hv in made:
        hv.remove_pool(OTHER)
        hv.close()


@pytest.mark.xdist_group("machine")
def test_two_hosts_see_the_same_volumes_in_a_directory_that_they_share(pair: list[Hypervisor], lab_host: Host) -> None:
    first, second = pair
    shared = PoolSpec(name=OTHER, path=str(lab_host.pool_dir / "shared"))
    for hv in pair:
        hv.ensure_pool_as(shared)

    first.create_empty(OTHER, "vol-1", capacity=4 * MIB)
    assert [volume.name for volume in second.volumes(OTHER)] == ["vol-1"]
    assert second.resize_volume(OTHER, "vol-1", capacity=8 * MIB).capacity == 8 * MIB
    assert {volume.name: volume.capacity for volume in first.volumes(OTHER)} == {"vol-1": 8 * MIB}

    second.delete_volume(OTHER, "vol-1")
    assert first.volume(OTHER, "vol-1") is None
