"""CDs for real: a machine starts from one where its disk is empty, and a running system mounts, locks and opens its drive."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pycdlib
import pytest
from lxml import etree

from operations.runner import run
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.lab.guests import Serial
from tests.lab.waiting import wait_until
from tests.live.livebench import LiveBench
from vms.hypervisor import pool
from vms.models import Disc, Guest, Image
from vms.names import serial_log, serial_socket
from vms.reconcile.sweep import sweep
from vms.services.discs import disc_eject, disc_insert
from vms.services.guests import guest_create
from vms.services.images import image_path
from vms.specs import GuestSpec

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("machine")]

PATIENCE_S = 240
PASSWORD = "correct horse"
SAYS = b"STARTED FROM THE CD"
PROGRAM = bytes.fromhex("baf803 e80000 5e 83c610 2eac 84c0 7403 ee ebf7 f4 ebfd") + SAYS + b"\r\n\0"
"""What a BIOS starts: it writes the words to the first serial port, byte by byte, and stops."""

MOUNT = (
    "mkdir -p /cd; until for drive in /dev/sr*; do mount -t iso9660 -o ro $drive /cd && break; done;"
    " do sleep 1; done 2>/dev/null"
)
"""A system asks its drives every few seconds only whether something was put in."""


@pytest.fixture
def cd(bench: LiveBench, tmp_path: Path) -> Image:
    """A CD that a BIOS can start from, with a file on it, as an import would leave it."""
    disc = pycdlib.PyCdlib()
    disc.new(joliet=3)
    for name, content in (("BOOT", PROGRAM.ljust(2048, b"\0")), ("HELLO", b"hello from the CD\n")):
        disc.add_fp(io.BytesIO(content), len(content), f"/{name}.;1", joliet_path=f"/{name.lower()}")
    disc.add_eltorito("/BOOT.;1", "/BOOT.CAT;1", boot_load_size=4)
    raw = tmp_path / "installer.iso"
    disc.write(str(raw))
    disc.close()
    image = factories.disc_image()
    image_path(image).parent.mkdir(parents=True, exist_ok=True)
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image_path(image))]
    subprocess.run(convert, check=True, capture_output=True)
    return image


def made(bench: LiveBench, name: str, image: Image, **more: str) -> Guest:
    with tenant_scope(bench.house.tenant):
        spec = GuestSpec(name=name, flavor=bench.flavor, image=image, **more)  # type: ignore[arg-type]
        operation = guest_create(bench.house.tenant, spec, actor=bench.house.actor)
    assert run(operation.pk) == "succeeded"
    with every_tenant(why="test"):
        return Guest.objects.select_related("tenant", "host").get(pk=operation.subject_id)


def disc_of(guest: Guest) -> Disc:
    with every_tenant(why="test"):
        return Disc.objects.select_related("guest", "image").get(guest=guest)


def ejected(bench: LiveBench, guest: Guest, *, force: bool = False) -> str:
    with tenant_scope(bench.house.tenant):
        operation = disc_eject(disc_of(guest), actor=bench.house.actor, force=force)
    run(operation.pk)
    operation.refresh_from_db()
    return operation.error_code


def inserted(bench: LiveBench, guest: Guest, cd: Image) -> None:
    with tenant_scope(bench.house.tenant):
        operation = disc_insert(guest, cd, actor=bench.house.actor)
    assert run(operation.pk) == "succeeded", operation.error_detail


def in_drive(bench: LiveBench, guest: Guest) -> bool:
    return any("/img-" in disk.path for disk in pool.get(bench.host.uri).disks(str(guest.pk)).live or ())


def open_tray(bench: LiveBench, guest: Guest) -> None:
    """As a system opens its tray: QEMU says so to libvirt by the same event. The tiny image has no ``eject``."""
    host, uuid = bench.lab_host, str(guest.pk)
    drive = etree.fromstring(host.virsh("dumpxml", uuid)).find("devices/disk[@device='cdrom']/alias")
    assert drive is not None
    wish = {"execute": "blockdev-open-tray", "arguments": {"id": drive.get("name")}}
    host.virsh("qemu-monitor-command", uuid, json.dumps(wish))


def test_a_cd_is_started_from_mounted_locked_and_let_go(bench: LiveBench, cd: Image) -> None:
    system = made(bench, "system", bench.image, password=PASSWORD)
    blank = made(bench, "blank", cd)
    log = Path(bench.host.data_dir) / "pool" / serial_log(blank.pk)
    wait_until(lambda: SAYS in log.read_bytes(), timeout_s=PATIENCE_S, what="the CD's program on the serial line")
    assert bench.findings() == []
    assert ejected(bench, blank) == ""
    assert run(bench.ask(blank, "purge").pk) == "succeeded"

    line = Serial(Path(serial_socket(bench.host.run_dir, system.pk)))
    line.log_in("root", PASSWORD, timeout_s=PATIENCE_S)
    inserted(bench, system, cd)
    line.ask(MOUNT, timeout_s=PATIENCE_S)
    assert line.ask("cat /cd/hello", timeout_s=PATIENCE_S) == "hello from the CD"

    assert ejected(bench, system) == "tray_locked"
    assert line.ask("cat /cd/hello", timeout_s=PATIENCE_S) == "hello from the CD"
    assert in_drive(bench, system)
    assert bench.findings() == []

    line.ask("umount /cd", timeout_s=PATIENCE_S)
    open_tray(bench, system)

    def noticed() -> bool:
        with every_tenant(why="test"):
            sweep(bench.host)
        return disc_of(system).is_out

    wait_until(noticed, timeout_s=PATIENCE_S, what="the tray that the machine's system opened")
    assert bench.findings() == []
    assert ejected(bench, system) == ""

    inserted(bench, system, cd)
    line.ask(MOUNT, timeout_s=PATIENCE_S)
    assert ejected(bench, system, force=True) == ""
    assert not in_drive(bench, system)
    line.close()
    assert run(bench.ask(system, "purge").pk) == "succeeded"
    assert bench.findings() == []
