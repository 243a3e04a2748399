"""What every driver promises of CDs; tried on the host in memory and on a real libvirtd with real QEMU."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

import pytest

from tests.vms.hypervisor.conftest import OWNER, STRANGER, World
from vms.hypervisor.disks import SeenDisk
from vms.hypervisor.errors import Missing, NoSlot, Refused
from vms.hypervisor.xml.devices import Disk
from vms.hypervisor.xml.domain import DomainSpec

MIB = 1024 * 1024
NOBODY = "00000000-0000-4000-8000-000000000000"
BUSES: Final[dict[str, Literal["sata", "scsi"]]] = {"sdc": "sata", "sdd": "scsi"}
DRIVES = tuple(
    Disk(path="", target=target, bus=bus, device="cdrom", readonly=True, format="raw") for target, bus in BUSES.items()
)


def disc(world: World, name: str, target: str = "sdc") -> Disk:
    """An image, and how a drive would hold it."""
    world.hypervisor.ensure_pool(world.pool, str(world.pool_path))
    made = world.hypervisor.create_empty(world.pool, f"{name}.qcow2", capacity=MIB)
    return Disk(path=made.path, target=target, bus=BUSES[target], device="cdrom", readonly=True, backing=())


def machine(world: World, *, runs: bool, **changes: object) -> DomainSpec:
    spec = world.defined(machine="q35", **{"disks": DRIVES} | changes)
    if runs:
        world.hypervisor.start(spec.uuid)
    return spec


@pytest.mark.parametrize("runs", [True, False], ids=["running", "off"])
def test_discs_come_and_go_now_and_for_the_next_start(world: World, runs: bool):
    spec, first, second = machine(world, runs=runs), disc(world, "a"), disc(world, "b", "sdd")
    hv = world.hypervisor
    assert hv.disks(spec.uuid).paths() == frozenset()

    for _twice in range(2):
        hv.insert_disc(spec.uuid, first, owner=OWNER, roots=world.roots)
        hv.insert_disc(spec.uuid, second, owner=OWNER, roots=world.roots)
        seen = hv.disks(spec.uuid)
        wanted = (SeenDisk(first.path, "sdc"), SeenDisk(second.path, "sdd"))
        assert seen.kept == wanted
        assert seen.live == (wanted if runs else None)

    for _twice in range(2):
        hv.eject_disc(spec.uuid, "sdc", owner=OWNER, force=False)
        assert hv.disks(spec.uuid).paths() == {second.path}
    hv.eject_disc(spec.uuid, "sdd", owner=OWNER, force=True)
    assert hv.disks(spec.uuid).paths() == frozenset()
    hv.insert_disc(spec.uuid, first, owner=OWNER, roots=world.roots)
    assert hv.disks(spec.uuid).paths() == {first.path}


def test_what_was_done_by_half_is_finished(world: World):
    spec, held = machine(world, runs=True), disc(world, "a")
    hv = world.hypervisor
    hv.insert_disc(spec.uuid, held, owner=OWNER, roots=world.roots)
    hv.define(spec, roots=world.roots)
    assert hv.disks(spec.uuid).kept == ()

    hv.insert_disc(spec.uuid, held, owner=OWNER, roots=world.roots)

    seen = hv.disks(spec.uuid)
    assert seen.kept == seen.live == (SeenDisk(held.path, "sdc"),)


def test_a_machine_starts_with_what_lies_in_its_drives(world: World):
    held = disc(world, "a")
    spec = machine(world, runs=True, disks=(replace(held, boot_order=1), DRIVES[1]))

    assert world.hypervisor.disks(spec.uuid).live == (SeenDisk(held.path, "sdc", boot_order=1),)
    world.hypervisor.eject_disc(spec.uuid, "sdc", owner=OWNER, force=False)
    assert world.hypervisor.disks(spec.uuid).paths() == frozenset()


def test_a_full_drive_takes_no_second_disc_and_no_file_from_outside(world: World):
    spec, first, second = machine(world, runs=True), disc(world, "a"), disc(world, "b")
    world.hypervisor.insert_disc(spec.uuid, first, owner=OWNER, roots=world.roots)

    for bad in (second, replace(second, path="/etc/passwd", target="sdd"), replace(second, path="../x", target="sdd")):
        with pytest.raises(Refused):
            world.hypervisor.insert_disc(spec.uuid, bad, owner=OWNER, roots=world.roots)

    seen = world.hypervisor.disks(spec.uuid)
    assert seen.kept == seen.live == (SeenDisk(first.path, "sdc"),)


def test_a_machine_that_was_started_without_drives_has_none_until_it_is_off(world: World):
    spec, held = machine(world, runs=True, disks=()), disc(world, "a")

    with pytest.raises(NoSlot):
        world.hypervisor.insert_disc(spec.uuid, held, owner=OWNER, roots=world.roots)

    world.hypervisor.eject_disc(spec.uuid, "sdc", owner=OWNER, force=False)
    world.hypervisor.pull_plug(spec.uuid)
    world.hypervisor.insert_disc(spec.uuid, held, owner=OWNER, roots=world.roots)
    assert world.hypervisor.disks(spec.uuid).kept == ()


def test_other_peoples_domains_keep_their_discs(world: World):
    spec, held = machine(world, runs=True), disc(world, "a")
    world.hypervisor.insert_disc(spec.uuid, held, owner=OWNER, roots=world.roots)

    with pytest.raises(Refused):
        world.hypervisor.eject_disc(spec.uuid, "sdc", owner=STRANGER, force=True)
    with pytest.raises(Refused):
        world.hypervisor.insert_disc(spec.uuid, disc(world, "b", "sdd"), owner=STRANGER, roots=world.roots)
    with pytest.raises(Missing):
        world.hypervisor.insert_disc(NOBODY, held, owner=OWNER, roots=world.roots)
    world.hypervisor.eject_disc(NOBODY, "sdc", owner=OWNER, force=False)

    assert world.hypervisor.disks(spec.uuid).paths() == {held.path}
