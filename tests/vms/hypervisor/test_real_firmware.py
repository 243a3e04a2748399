"""Genuine firmware on a genuine host: Secure Boot refuses what nobody vouches for, the TPM answers, discs hang in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.hosts import Host
from tests.lab.waiting import wait_until
from vms.cloudinit import Seed
from vms.disks.seed import seed_iso
from vms.hypervisor import libvirt_driver
from vms.hypervisor.driver import Hypervisor, Owner, Roots
from vms.hypervisor.xml.domain import Disk, DomainSpec, Firmware, Hyperv, Serial, Tag, Tpm

OWNER = Owner("firmware", 1)
POOL = "gh-firmware"
BOOT_S = 240
KEYS = [name.encode("utf-16-le") for name in ("PK", "KEK", "db", "SecureBootEnable")]


@pytest.fixture
def hypervisor(lab_host: Host) -> Iterator[Hypervisor]:
    found = libvirt_driver.connect(lab_host.uri)
    found.ensure_pool(POOL, str(lab_host.pool_dir / "firmware"))
    yield found
    for domain in found.domains():
        if domain.owner == OWNER:
            found.pull_plug(domain.uuid)
            found.undefine(domain.uuid, owner=OWNER)
    for volume in found.volumes(POOL):
        found.delete_volume(POOL, volume.name)
    found.remove_pool(POOL)
    found.close()


def machine(host: Host, number: int, *disks: Disk, secure_boot: bool, tpm: Tpm | None) -> DomainSpec:
    """A machine as Windows gets it, with little memory; what firmware needs of it."""
    return DomainSpec(
        uuid=f"0198a3c2-cccc-7cc0-b0e1-00000000000{number}",
        name=f"gh-firmware-{number}",
        tag=Tag(owner=OWNER, subject=f"guest-{number}", tenant="acme", generation=1),
        vcpus=1,
        memory_mib=160,
        tb_cache_mib=32,
        firmware=Firmware(kind="uefi", secure_boot=secure_boot, nvram=f"{host.pool_dir}/firmware/nvram-{number}.fd"),
        hyperv=Hyperv(),
        local_time=True,
        tpm=tpm,
        disks=disks,
        serial=Serial(socket=str(host.run_dir / f"fw{number}.tty"), log=str(host.run_dir / f"fw{number}.log")),
        spare_ports=4,
    )


def start(hypervisor: Hypervisor, host: Host, spec: DomainSpec) -> None:
    run = (str(host.run_dir),)
    hypervisor.define(spec, roots=Roots(storage=(str(host.pool_dir / "firmware"),), run=run, log=run))
    hypervisor.start(spec.uuid)


def said(spec: DomainSpec, words: str, *, times: int = 1) -> str:
    """All that its serial line has shown, once ``words`` stand there ``times`` times."""
    assert spec.serial is not None
    log = Path(spec.serial.log)

    def enough() -> str:
        text = log.read_text(errors="replace") if log.exists() else ""
        return text if text.count(words) >= times else ""

    return wait_until(enough, timeout_s=BOOT_S, what=f"{spec.name} says {words!r}", every_s=0.2)


def test_uefi_boots_to_its_shell(hypervisor: Hypervisor, lab_host: Host) -> None:
    spec = machine(lab_host, 1, secure_boot=False, tpm=None)

    start(hypervisor, lab_host, spec)

    assert "UEFI Interactive Shell" in said(spec, "Shell>")


def test_secure_boot_is_on_the_tpm_answers_and_the_discs_hang_in_order(
    hypervisor: Hypervisor, lab_host: Host, tmp_path: Path
) -> None:
    disc = tmp_path / "seed.iso"
    disc.write_bytes(seed_iso(Seed(instance_id="i", hostname="w")))
    root = hypervisor.create_empty(POOL, "vol-root.qcow2", capacity=1 << 20)
    discs = [hypervisor.upload_volume(POOL, name, disc, disk_format="raw") for name in ("drivers.iso", "seed.iso")]
    cds = [
        Disk(path=seen.path, target=target, bus="sata", device="cdrom", format="raw", readonly=True, backing=())
        for seen, target in zip(discs, ("sde", "sdf"), strict=True)
    ]
    first = Disk(path=root.path, target="sda", bus="sata", boot_order=1, backing=())
    spec = machine(lab_host, 2, first, *cds, secure_boot=True, tpm=Tpm())
    memory = lab_host.directory / "root" / "lib" / "swtpm" / spec.uuid / "tpm2" / "tpm2-00.permall"
    nvram = Path(spec.firmware.nvram)

    start(hypervisor, lab_host, spec)

    # The firmware's own shell is signed by nobody: that it is refused is Secure Boot at work.
    shown = said(spec, "Security Violation")
    assert "EFI Internal Shell" in shown
    assert "Shell>" not in shown
    assert [key for key in KEYS if key not in nvram.read_bytes()] == []
    assert oct(nvram.stat().st_mode & 0o777) == "0o600"
    assert [(disk.target, disk.path) for disk in hypervisor.disks(spec.uuid).everywhere()[0]] == [
        ("sda", root.path),
        ("sde", discs[0].path),
        ("sdf", discs[1].path),
    ]

    # Off, off the host as by the bin, and back: both remember, and the TPM has counted the start that firmware told it of.
    hypervisor.pull_plug(spec.uuid)
    hypervisor.undefine(spec.uuid, owner=OWNER, keep_firmware=True)
    before, variables = memory.read_bytes(), nvram.stat().st_ino
    start(hypervisor, lab_host, spec)
    said(spec, "Security Violation", times=2)
    hypervisor.pull_plug(spec.uuid)

    assert memory.read_bytes() != before
    assert nvram.stat().st_ino == variables
    hypervisor.undefine(spec.uuid, owner=OWNER)
    assert (memory.exists(), nvram.exists()) == (False, False)
