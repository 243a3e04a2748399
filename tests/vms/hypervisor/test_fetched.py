"""Disks that were fetched from a host are opened on the worker: they stand on each other, and on no file of ours."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from vms.hypervisor.errors import Refused
from vms.hypervisor.libvirt_driver.backups import ServedReader, stack

MIB = 1024**2


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    made = tmp_path / "secret"
    made.write_bytes(b"s" * MIB)
    return made


@pytest.mark.parametrize("layers", [1, 2])
def test_a_file_of_ours_that_a_disk_names_is_not_read(layers: int, secret: Path, tmp_path: Path) -> None:
    files = [(tmp_path / f"{number}.layer", "qcow2") for number in range(layers)]
    for file, _format in files:
        qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", secret, file)

    stack(files)

    with contextlib.closing(ServedReader(*files[0])) as reader:
        assert reader.size == MIB
        assert not any(reader.read(0, MIB))


def test_a_disk_that_keeps_its_data_in_a_file_of_ours_is_refused(secret: Path, tmp_path: Path) -> None:
    file = tmp_path / "0.layer"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={secret},data_file_raw=on", file, "1M")

    with pytest.raises(Refused):
        stack([(file, "qcow2")])


def test_layers_stand_on_each_other(secret: Path, tmp_path: Path) -> None:
    upper = tmp_path / "0.layer"
    qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", "/nonexistent", "-u", upper, "1M")

    stack([(upper, "qcow2"), (secret, "raw")])

    with contextlib.closing(ServedReader(upper, "qcow2")) as reader:
        assert reader.read(0, MIB) == b"s" * MIB
