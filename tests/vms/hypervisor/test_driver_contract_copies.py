"""What every driver promises of what it fetches of a snapshot; tried on the host in memory and on real libvirt with real QEMU."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.vms.hypervisor.conftest import FakeBackstage, VirshBackstage, World
from tests.vms.hypervisor.test_driver_contract_snapshots import drop, take
from vms.disks.convert import flatten
from vms.hypervisor import fake, qcow2
from vms.hypervisor.copies import Fetched
from vms.hypervisor.errors import Missing
from vms.hypervisor.xml.devices import Disk, Layer

MIB = 1024**2


class Machine:
    """It runs on one disk over a base; ``write`` is from inside."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        world.hypervisor.ensure_pool(world.pool, str(world.pool_path))
        file, raw = folder / "base", folder / "raw"
        raw.write_bytes(b"base" + bytes(MIB))
        subprocess.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, file], check=True)
        base = world.hypervisor.upload_volume(world.pool, "base.qcow2", file, disk_format="qcow2")
        made = world.hypervisor.create_overlay(world.pool, "vol-a", base="base.qcow2", capacity=4 * MIB)
        self.path = made.path
        disk = Disk(path=made.path, target="vda", backing=(Layer(path=base.path, format="qcow2"),))
        self.uuid = world.defined(disks=(disk,)).uuid
        world.hypervisor.start(self.uuid)

    def write(self, letter: int) -> None:
        """64 KiB of it at 2 MiB."""
        if isinstance(self.world.backstage, FakeBackstage):
            fake.host("contract").contents[self.path] = chr(letter) * 8
            return
        assert isinstance(self.world.backstage, VirshBackstage)
        command = f'qemu-io -d {self._device()} "write -P {letter} {2 * MIB} 64k"'
        said = self.world.backstage._host.virsh("qemu-monitor-command", self.uuid, "--hmp", command)
        assert "rror" not in said, said

    def _device(self) -> str:
        assert isinstance(self.world.backstage, VirshBackstage)
        said = self.world.backstage._host.virsh("qemu-monitor-command", self.uuid, "--hmp", "info block")
        attached = next(line for line in said.splitlines() if "Attached to" in line)
        return attached.split(":", 1)[1].strip()

    def take(self, name: str) -> None:
        take(self.world, name, [self.path], self.uuid)

    def drop(self, name: str) -> None:
        drop(self.world, name, [self.path], self.uuid)

    def fetch(self, name: str, folder: Path, progress=lambda done, size: None) -> tuple[Fetched, ...]:
        folder.mkdir()
        return self.world.hypervisor.fetch_snapshot(self.world.pool, "vol-a", name, scratch=folder, progress=progress)


def letter_in(fetched: tuple[Fetched, ...], folder: Path) -> int:
    """What is on the disk where ``write`` writes, once it is one file."""
    made = folder / "flat"
    written = flatten([(each.file, each.format) for each in fetched], made)
    assert written.virtual_size == 4 * MIB
    raw = folder / "raw"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", made, raw], check=True)
    content = raw.read_bytes()
    return content[0] if len(fetched) == 1 else content[2 * MIB]


@pytest.fixture
def machine(world: World, tmp_path: Path) -> Machine:
    return Machine(world, tmp_path)


def test_a_snapshot_is_fetched_as_it_was_whatever_is_written_taken_and_dropped_meanwhile(
    machine: Machine, tmp_path: Path
) -> None:
    machine.take("older")
    machine.write(65)
    machine.take("wanted")
    machine.write(66)
    calls = []

    def meanwhile(done: int, size: int) -> None:
        calls.append((done, size))
        if len(calls) == 1:
            for letter, name in ((67, "one"), (68, "two"), (69, "three")):
                machine.take(name)
                machine.write(letter)
            machine.drop("older")

    fetched = machine.fetch("wanted", tmp_path / "first", meanwhile)

    assert letter_in(fetched, tmp_path) == 65
    assert calls[0][0] == 0
    assert letter_in(machine.fetch("two", tmp_path / "second"), tmp_path) == 67
    assert machine.world.hypervisor.domain(machine.uuid).power == "running"


def test_one_that_is_not_there_or_goes_meanwhile_is_missing(machine: Machine, tmp_path: Path) -> None:
    machine.take("goes")
    with pytest.raises(Missing):
        machine.fetch("never", tmp_path / "never")

    if isinstance(machine.world.backstage, FakeBackstage):
        return  # there nothing takes time
    with pytest.raises(Missing):
        machine.fetch("goes", tmp_path / "goes", lambda done, _size: machine.drop("goes") if not done else None)


def head() -> bytes:
    """A header with a backing file, a snapshot and an extension."""
    made = bytearray(4104)
    made[:8] = b"QFI\xfb\0\0\0\3"
    made[8:20] = b"\1" * 12
    made[60:64], made[64:72] = (1).to_bytes(4, "big"), (4096).to_bytes(8, "big")
    made[72:96] = b"\1" * 24
    made[100:104] = (112).to_bytes(4, "big")
    made[112:120] = b"\1" * 8
    return bytes(made)


def test_a_header_shows_a_snapshot_and_names_nothing_else() -> None:
    shown = qcow2.alone(head(), qcow2.Entry("s", l1_offset=0x30000, l1_entries=1, capacity=4 * MIB, memory=0))

    assert qcow2.table_place(shown) == (0, 0)
    assert shown[8:20] == bytes(12)
    assert (shown[72:88], shown[88:96]) == (b"\1" * 16, bytes(8))
    assert int.from_bytes(shown[24:32], "big") == 4 * MIB
    assert (int.from_bytes(shown[36:40], "big"), int.from_bytes(shown[40:48], "big")) == (1, 0x30000)
    assert shown[112:120] == bytes(8)
    assert len(shown) == len(head())


@pytest.mark.parametrize("length", [0, 8, 4100, 1 << 31])
def test_a_header_whose_length_makes_no_sense_is_refused(length: int) -> None:
    with pytest.raises(qcow2.BadTable):
        qcow2.alone(head()[:100] + length.to_bytes(4, "big") + head()[104:])
