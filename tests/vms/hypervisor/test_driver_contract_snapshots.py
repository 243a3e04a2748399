"""What every driver promises of snapshots; tried on the host in memory and on a real libvirtd with real QEMU."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.vms.hypervisor.conftest import OWNER, STRANGER, World
from vms.hypervisor import qcow2
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.snapshots import Awake, SeenSnapshot
from vms.hypervisor.xml.devices import Disk
from vms.hypervisor.xml.domain import DomainSpec
from vms.states import Power

MIB = 1024 * 1024
NOBODY = "00000000-0000-4000-8000-000000000000"


def disk(world: World, name: str) -> Disk:
    world.hypervisor.ensure_pool(world.pool, str(world.pool_path))
    made = world.hypervisor.create_empty(world.pool, f"{name}.qcow2", capacity=4 * MIB)
    return Disk(path=made.path, target=f"vd{name}", backing=())


def machine(world: World, *, runs: bool) -> tuple[DomainSpec, list[str]]:
    """With two disks of its own, and one that it only reads."""
    seed = replace(disk(world, "z"), readonly=True)
    disks = [disk(world, "a"), disk(world, "b")]
    spec = world.defined(disks=(*disks, seed))
    if runs:
        world.hypervisor.start(spec.uuid)
    return spec, [each.path for each in disks]


def held(world: World, path: str) -> list[str]:
    return [seen.name for seen in world.hypervisor.snapshots(world.pool, Path(path).name)]


def take(world: World, name: str, paths: list[str], uuid: str = "", *, freeze: bool = False) -> bool:
    return world.hypervisor.take_snapshot(name, paths, uuid=uuid, owner=OWNER, roots=world.roots, freeze=freeze)


def drop(world: World, name: str, paths: list[str], uuid: str = "") -> None:
    world.hypervisor.drop_snapshot(name, paths, uuid=uuid, owner=OWNER, roots=world.roots)


def assert_sound(world: World, paths: list[str]) -> None:
    """``qemu-img check`` finds nothing, not even space that nobody uses; of disks that nobody has open."""
    if not world.pool_path.exists():
        return
    for path in paths:
        done = subprocess.run(
            ["qemu-img", "check", "-f", "qcow2", world.pool_path / Path(path).name],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("runs", [True, False], ids=["running", "off"])
def test_a_snapshot_is_taken_once_however_often_and_goes_for_good(world: World, runs: bool):
    spec, paths = machine(world, runs=runs)

    for name in ("first", "second", "second"):
        assert take(world, name, paths, spec.uuid, freeze=True) is False  # nobody answers in there
    wanted = [SeenSnapshot("first", 4 * MIB), SeenSnapshot("second", 4 * MIB)]
    assert [list(world.hypervisor.snapshots(world.pool, Path(path).name)) for path in paths] == [wanted, wanted]
    drop(world, "first", paths, spec.uuid)
    drop(world, "first", paths, spec.uuid)

    assert [held(world, path) for path in paths] == [["second"], ["second"]]
    seen = world.hypervisor.disks(spec.uuid)
    assert {each.path for each in seen.kept if "z" not in each.target} == set(paths)
    assert [domain.uuid for domain in world.hypervisor.domains()] == [spec.uuid]
    world.hypervisor.pull_plug(spec.uuid)
    drop(world, "second", paths)
    assert_sound(world, paths)


def test_reverting_brings_back_size_and_content_and_says_what_is_missing(world: World):
    _spec, paths = machine(world, runs=False)
    take(world, "small", paths)
    world.hypervisor.resize_volume(world.pool, Path(paths[0]).name, capacity=8 * MIB)
    take(world, "large", paths)

    for name, capacity in (("small", 4), ("large", 8), ("small", 4), ("small", 4)):
        world.hypervisor.revert_snapshot(name, paths, owner=OWNER, roots=world.roots)
        seen = world.hypervisor.volume(world.pool, Path(paths[0]).name)
        assert seen is not None
        assert seen.capacity == capacity * MIB
        assert held(world, paths[0]) == ["small", "large"]
        assert_sound(world, paths)
    with pytest.raises(Missing):
        world.hypervisor.revert_snapshot("other", paths, owner=OWNER, roots=world.roots)


def test_what_runs_is_not_reverted_and_half_a_machine_not_taken(world: World):
    spec, paths = machine(world, runs=True)
    take(world, "one", paths, spec.uuid)
    other = disk(world, "c").path

    with pytest.raises(Refused):
        world.hypervisor.revert_snapshot("one", paths, owner=OWNER, roots=world.roots)
    with pytest.raises(Refused):
        take(world, "two", [*paths, other], spec.uuid)
    with pytest.raises(Refused):
        world.hypervisor.take_snapshot("two", paths, uuid=spec.uuid, owner=STRANGER, roots=world.roots, freeze=False)
    with pytest.raises(Refused):
        take(world, "two", ["/etc/passwd"])
    assert held(world, paths[0]) == ["one"]
    assert held(world, other) == []
    with pytest.raises(Missing):
        world.hypervisor.snapshots(world.pool, "nothing.qcow2")
    drop(world, "one", [str(world.pool_path / "nothing.qcow2")], NOBODY)


def test_a_machine_wakes_as_it_was_with_its_memory(world: World):
    spec, paths = machine(world, runs=True)
    name = "awake"
    for _twice in range(2):
        definition = world.hypervisor.take_memory(name, uuid=spec.uuid, owner=OWNER)
    assert "s3cretpw" not in definition
    assert [
        sum(seen.memory for seen in world.hypervisor.snapshots(world.pool, Path(path).name)) > 0 for path in paths
    ].count(True) == 1
    awake = Awake(definition=definition, paths=paths, tag=replace(spec.tag, generation=7), password="another1")

    with pytest.raises(Refused):  # it runs
        world.hypervisor.wake_snapshot(name, awake, uuid=spec.uuid, owner=OWNER, roots=world.roots)
    world.hypervisor.pull_plug(spec.uuid)
    fewer = replace(awake, paths=[*paths, "/srv/pool/x"])
    with pytest.raises(Refused):  # with other disks
        world.hypervisor.wake_snapshot(name, fewer, uuid=spec.uuid, owner=OWNER, roots=world.roots)
    world.hypervisor.wake_snapshot(name, awake, uuid=spec.uuid, owner=OWNER, roots=world.roots)

    seen = world.hypervisor.domain(spec.uuid)
    assert seen is not None
    assert (seen.power, seen.generation, seen.owner) == (Power.RUNNING, 7, OWNER)
    assert {each.path for each in world.hypervisor.disks(spec.uuid).live or ()} >= set(paths)
    drop(world, name, paths, spec.uuid)
    world.hypervisor.pull_plug(spec.uuid)
    assert [held(world, path) for path in paths] == [[], []]
    assert_sound(world, paths)
    with pytest.raises(Refused):  # it has no memory
        world.hypervisor.take_memory(name, uuid=spec.uuid, owner=OWNER)


def test_what_a_backup_tracks_does_not_hold_up_a_revert(world: World):
    _spec, paths = machine(world, runs=False)
    take(world, "one", paths)
    if world.pool_path.exists():
        file = world.pool_path / Path(paths[0]).name
        subprocess.run(["qemu-img", "bitmap", "--add", file, "since-yesterday"], check=True)

    world.hypervisor.revert_snapshot("one", paths, owner=OWNER, roots=world.roots)

    assert_sound(world, paths)


def test_a_keeper_that_a_dead_worker_left_is_in_nobodys_way(world: World, monkeypatch: pytest.MonkeyPatch):
    _spec, paths = machine(world, runs=False)
    before = {domain.uuid for domain in world.hypervisor.domains()}
    monkeypatch.setattr(type(world.hypervisor), "_forget_keeper", lambda *_a: None, raising=False)
    take(world, "one", paths)
    monkeypatch.undo()

    take(world, "two", paths)

    assert {domain.uuid for domain in world.hypervisor.domains()} == before
    assert held(world, paths[0]) == ["one", "two"]


def table(*names: bytes, extra: bytes = struct.pack(">QQ", 3, 5)) -> bytes:
    made = b""
    for name in names:
        entry = struct.pack(">QIHHIIQII", 0, 0, 1, len(name), 0, 0, 0, 0, len(extra)) + extra + b"1" + name
        made += entry + bytes(-len(entry) % 8)
    return made


def test_a_table_of_snapshots_is_read_as_far_as_it_goes():
    whole = table(b"snap-1", b"x")

    assert qcow2.table_read(whole, 2) == (qcow2.Entry("snap-1", 0, 0, 5, 3), qcow2.Entry("x", 0, 0, 5, 3))
    assert qcow2.table_read(table(b"old", extra=b""), 1) == (qcow2.Entry("old", 0, 0, 0, 0),)
    for cut in range(len(whole) - 8):
        with pytest.raises(qcow2.BadTable):
            qcow2.table_read(whole[:cut], 2)


@pytest.mark.parametrize(
    "header",
    [b"", b"QFI\xfb", bytes(72), b"QFI\xfb" + bytes(56) + struct.pack(">IQ", 70_000, 72)],
    ids=["nothing", "short", "raw", "too many"],
)
def test_a_header_that_makes_no_sense_is_refused(header: bytes):
    with pytest.raises(qcow2.BadTable):
        qcow2.table_place(header)
