"""What every driver promises of disks held at one moment; tried on the host in memory and on a real libvirtd with real QEMU."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vms.hypervisor.conftest import OWNER, STRANGER, FakeBackstage, VirshBackstage, World
from tests.vms.hypervisor.test_driver_contract_disks import MIB, NOBODY, machine, volume
from vms.hypervisor import fake
from vms.hypervisor.backups import DiskReader
from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.xml.devices import Disk

BLOCK = 64 * 1024


@dataclass
class Held:
    """A machine with two disks, and what is written to them from inside or, while it is off, into the file."""

    world: World
    uuid: str
    disks: list[Disk]

    @property
    def socket(self) -> str:
        return str(self.world.run_dir / "contract.held")

    def write(self, disk: Disk, offset: int, letter: int, *, length: int = BLOCK, runs: bool = True) -> None:
        words = f"write -P {letter} {offset} {length}"
        if isinstance(self.world.backstage, FakeBackstage):
            contents = fake.host("contract").written
            before = contents.get(disk.path, b"").ljust(offset + length, b"\0")
            contents[disk.path] = before[:offset] + bytes([letter]) * length + before[offset + length :]
        elif runs:
            assert isinstance(self.world.backstage, VirshBackstage)
            host = self.world.backstage._host
            said = host.virsh("qemu-monitor-command", self.uuid, "--hmp", f'qemu-io -d {self._device(disk)} "{words}"')
            assert "rror" not in said, said
        else:
            subprocess.run(["qemu-io", "-f", "qcow2", "-c", words, disk.path], check=True, capture_output=True)

    def _device(self, disk: Disk) -> str:
        assert isinstance(self.world.backstage, VirshBackstage)
        said = self.world.backstage._host.virsh("qemu-monitor-command", self.uuid, "--hmp", "info block")
        line = next(line for line in said.splitlines() if disk.path in line)
        at = said.index(line)
        block = said[:at].rpartition("\n\n")[2] + said[at : said.find("\n\n", at)]
        return next(each.split(":", 1)[1].strip() for each in block.splitlines() if "Attached to" in each)

    def begin(self, name: str, since: str = "", disks: list[Disk] | None = None):
        paths = [disk.path for disk in disks or self.disks]
        return self.world.hypervisor.backup_begin(
            self.uuid, paths, checkpoint=name, since=since, socket=self.socket, owner=OWNER
        )

    def end(self) -> None:
        self.world.hypervisor.backup_end(self.uuid, socket=self.socket, owner=OWNER)


def stretches(reader: DiskReader, which: str) -> list[tuple[int, int]]:
    """Offset and end of what holds data, or has changed; neighbours put together. Checks that there are no gaps."""
    found: list[tuple[int, int]] = []
    at = 0
    for extent in reader.extents():
        assert extent.offset == at
        at += extent.length
        if getattr(extent, which):
            if found and found[-1][1] == extent.offset:
                found[-1] = (found[-1][0], at)
            else:
                found.append((extent.offset, at))
    assert at == reader.size
    return found


@pytest.fixture
def held(world: World) -> Held:
    disks = [volume(world, name) for name in "bc"]
    spec = machine(world, runs=False)
    for disk in disks:
        world.hypervisor.attach_disk(spec.uuid, disk, owner=OWNER, roots=world.roots)
    made = Held(world, spec.uuid, disks)
    made.write(disks[0], MIB, 7, runs=False)
    return made


def test_a_running_machines_disks_stand_still_while_it_writes_on(held: Held):
    first, second = held.disks
    held.world.hypervisor.start(held.uuid)
    for _twice in range(2):
        view = held.begin("one")
    assert (view.since, view.frozen, set(view.targets)) == ("", False, {first.path, second.path})

    held.write(first, 0, 9)
    held.write(second, 2 * MIB, 9)

    reader = held.world.hypervisor.backup_reader(view, first.path)
    assert reader.size == 4 * MIB
    assert stretches(reader, "data") == [(MIB, MIB + BLOCK)]
    assert stretches(reader, "changed") == [(0, 4 * MIB)]
    assert reader.read(MIB - 10, BLOCK + 20) == bytes(10) + b"\7" * BLOCK + bytes(10)
    assert reader.read(0, BLOCK) == bytes(BLOCK)
    reader.close()
    reader = held.world.hypervisor.backup_reader(view, second.path)
    assert stretches(reader, "data") == []
    reader.close()
    for _twice in range(2):
        held.end()
    assert held.world.hypervisor.checkpoints(held.uuid) == ("one",)
    assert len(held.world.hypervisor.volumes(held.world.pool)) == 2, "no file of it is left"


def test_what_changed_since_a_checkpoint_is_known_also_over_a_restart(held: Held):
    first, second = held.disks
    hypervisor = held.world.hypervisor
    hypervisor.start(held.uuid)
    held.begin("one")
    held.end()
    held.write(first, 2 * MIB, 8)

    view = held.begin("two", since="one")
    assert view.since == "one"
    reader = hypervisor.backup_reader(view, first.path)
    assert stretches(reader, "changed") == [(2 * MIB, 2 * MIB + BLOCK)]
    assert stretches(reader, "data") == [(MIB, MIB + BLOCK), (2 * MIB, 2 * MIB + BLOCK)]
    reader.close()
    held.end()
    hypervisor.drop_checkpoints(held.uuid, keep={"two"}, owner=OWNER)
    assert hypervisor.checkpoints(held.uuid) == ("two",)
    assert held.begin("three", since="one").since == "", "nobody knows any more"
    held.end()
    assert hypervisor.checkpoints(held.uuid) == ("three",)

    held.write(second, 0, 5)
    hypervisor.pull_plug(held.uuid)
    hypervisor.start(held.uuid)
    held.write(second, MIB, 5)
    view = held.begin("four", since="three")
    if view.since:  # a plug that was pulled may have cost the bitmaps, and then it says so
        reader = hypervisor.backup_reader(view, second.path)
        assert stretches(reader, "changed") == [(0, BLOCK), (MIB, MIB + BLOCK)]
        reader.close()
    held.end()


def test_a_disk_that_has_come_since_makes_the_changes_unknown(held: Held):
    first, _second = held.disks
    held.world.hypervisor.start(held.uuid)
    held.begin("one", disks=[first])
    held.end()

    view = held.begin("two", since="one")

    assert view.since == ""
    reader = held.world.hypervisor.backup_reader(view, first.path)
    assert stretches(reader, "changed") == [(0, 4 * MIB)]
    reader.close()
    held.end()


def test_only_what_runs_is_ours_and_has_the_disks_is_held(held: Held):
    hypervisor = held.world.hypervisor
    with pytest.raises(Refused):
        held.begin("one")
    hypervisor.start(held.uuid)
    with pytest.raises(Missing):
        hypervisor.backup_begin(held.uuid, ["/x"], checkpoint="one", since="", socket=held.socket, owner=OWNER)
    with pytest.raises(Refused):
        hypervisor.backup_begin(
            held.uuid, [held.disks[0].path], checkpoint="one", since="", socket=held.socket, owner=STRANGER
        )
    hypervisor.backup_end(NOBODY, socket=held.socket, owner=OWNER)
    hypervisor.drop_checkpoints(NOBODY, keep=(), owner=OWNER)
    assert hypervisor.checkpoints(NOBODY) == hypervisor.checkpoints(held.uuid) == ()


def test_a_volume_is_read_with_all_it_stands_on(held: Held, tmp_path: Path):
    hypervisor, name = held.world.hypervisor, Path(held.disks[0].path).name
    if isinstance(held.world.backstage, VirshBackstage):
        above = hypervisor.create_overlay(held.world.pool, "above.qcow2", base=name, capacity=4 * MIB)
        name = "above.qcow2"
        words = f"write -P 3 {3 * MIB} {BLOCK}"
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", words, above.path], check=True, capture_output=True)
    else:
        held.write(held.disks[0], 3 * MIB, 3)
    fetched: list[int] = []

    reader = hypervisor.volume_reader(held.world.pool, name, scratch=tmp_path, at_most=4 * MIB, progress=fetched.append)

    assert reader.size == 4 * MIB
    assert stretches(reader, "data") == [(MIB, MIB + BLOCK), (3 * MIB, 3 * MIB + BLOCK)]
    assert reader.read(MIB, BLOCK) == b"\7" * BLOCK
    assert reader.read(3 * MIB, BLOCK) == b"\3" * BLOCK
    reader.close()
    assert fetched
    with pytest.raises(Missing):
        hypervisor.volume_reader(held.world.pool, "nothing.qcow2", scratch=tmp_path, at_most=4 * MIB)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(Refused):
        hypervisor.volume_reader(held.world.pool, name, scratch=empty, at_most=4 * MIB - 1)
    assert list(empty.iterdir()) == [], "nothing of a disk that is too large is fetched"
