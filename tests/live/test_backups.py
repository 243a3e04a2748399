"""A machine's backups for real: written inside, backed up while it runs, changed, backed up again, and back as a new machine."""

from __future__ import annotations

import struct
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from operations.models import Operation
from operations.runner import run
from tenants.scoping import tenant_scope
from tests.lab.guests import Serial
from tests.lab.waiting import wait_until
from tests.live.livebench import LiveBench, work
from tests.operations.kinds import lapse
from tests.vms.reconcile.backup_lives import Backups
from tests.vms.reconcile.copy_lives import Copies
from tests.vms.reconcile.volume_lives import Disks
from vms.berths import berth
from vms.hypervisor import pool
from vms.models import Backup, Guest, Volume
from vms.names import backup_socket, serial_socket
from vms.selectors.installation import installation_owner
from vms.services.backups import backup_schedule_create
from vms.services.backups.retention import Keep
from vms.services.backups.schedules import ScheduleSpec
from vms.services.backups.slots import backup_schedules_run
from vms.services.guests import guest_create
from vms.services.putback import backup_put_back
from vms.services.snapshots.tidy import snapshots_tidy
from vms.specs import GuestSpec

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "correct horse"
BOOT_S = 180


def line_of(guest: Guest) -> Serial:
    assert guest.host is not None
    return Serial(Path(serial_socket(guest.host.run_dir, guest.pk)))


def by_the_clock(bench: LiveBench, guest: Guest) -> Backup:
    """The one that is left after two moments of a schedule that keeps one."""
    with tenant_scope(bench.house.tenant):
        spec = ScheduleSpec(name="nightly", window_minutes=0, keep=Keep(last=1), guests=(guest,))
        schedule = backup_schedule_create(bench.house.tenant, spec, actor=bench.house.actor)
    at = schedule.next_at
    for _number in range(2):
        assert at is not None
        assert backup_schedules_run(at=at)["asked"] == 1
        bench.settle()
        backup_schedules_run(at=at + timedelta(seconds=5))
        bench.settle()
        with tenant_scope(bench.house.tenant):
            schedule.refresh_from_db()
            left = Backup.objects.select_related("repository__store").get(schedule=schedule)
        at = schedule.next_at
    return left


def clone_of(bench: LiveBench, guest: Guest) -> Guest:
    """Another machine of one that runs, by a worker that died on the way; and an image of the same moment."""
    copies = Copies(bench)
    operation = copies.clone(guest)
    snapshot = copies.passing(operation)
    assert snapshot.consistency == "frozen"
    assert run(copies.image(snapshot).pk) == "succeeded"
    killed = work(operation, die_at="guest.clone:disk0:before", data=Path(settings.DATA_DIR))
    assert killed.returncode == -9, killed.stderr
    lapse(operation)
    bench.settle()
    operation.refresh_from_db()
    assert (operation.status, operation.error_code) == ("succeeded", ""), operation.error_detail
    assert snapshots_tidy() == 1
    bench.settle()
    assert copies.shots.is_gone(snapshot)
    with tenant_scope(bench.house.tenant):
        return Guest.objects.select_related("tenant", "host").get(pk=operation.subject_id)


def note_on(volume: Volume, folder: Path) -> str:
    """What stands in the note on a disk that nobody has: its second partition, read as its system left it."""
    assert volume.pool is not None
    raw, root = folder / "disk.raw", folder / "root.ext4"
    file = berth(volume, volume.pool.host, installation_owner()).path
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", file, raw], check=True)
    with raw.open("rb") as disk:
        disk.seek(446 + 16 + 8)
        start, length = struct.unpack("<II", disk.read(8))
    command = [
        "dd",
        f"if={raw}",
        f"of={root}",
        "bs=512",
        f"skip={start}",
        f"count={length}",
        "conv=sparse",
        "status=none",
    ]
    subprocess.run(command, check=True)
    subprocess.run(["e2fsck", "-fy", root], check=False, stdout=subprocess.DEVNULL)  # its plug was pulled
    return subprocess.check_output(["debugfs", "-R", "cat /root/note", root], text=True).strip()


def goes_back_in_place(backups: Backups, guest: Guest, line: Serial, tmp_path: Path) -> None:
    """One that runs, by a worker that died between the swap and the next start; what it held since is on its former disk."""
    bench, disks = backups.bench, Disks(backups.bench)
    backup = backups.backup(guest)
    line.ask("echo fifth > /root/note; sync")
    known = line.ask("cat /sys/block/vda/serial")
    line.close()
    with tenant_scope(bench.house.tenant):
        former = Volume.objects.get(guest=guest)
        operation = backup_put_back(backups.fresh(backup.pk), actor=bench.house.actor, stop=True)
    killed = work(operation, die_at="guest.putback:swap:after", data=Path(settings.DATA_DIR))
    assert killed.returncode == -9, killed.stderr
    lapse(operation)
    bench.settle()
    operation.refresh_from_db()
    assert (operation.status, operation.error_code) == ("succeeded", ""), operation.error_detail
    assert bench.findings() == []

    line = line_of(guest)
    line.type("")
    line.log_in("root", PASSWORD, timeout_s=BOOT_S)
    assert line.ask("cat /root/note") == "second"
    assert line.ask("cat /sys/block/vda/serial") == known
    line.close()
    assert note_on(disks.fresh(former.pk), tmp_path) == "fifth"
    assert run(disks.ask(former, "delete").pk) == "succeeded"
    assert bench.findings() == []


def test_a_machine_comes_back_as_it_was_at_its_last_backup(bench: LiveBench, tmp_path: Path) -> None:
    backups = Backups(bench, tmp_path / "store")
    with tenant_scope(bench.house.tenant):
        spec = GuestSpec(name="kept", flavor=bench.flavor, image=bench.image, password=PASSWORD)
        operation = guest_create(bench.house.tenant, spec, actor=bench.house.actor)
        guest = Guest.objects.select_related("tenant", "host").get(pk=operation.subject_id)
    assert run(operation.pk) == "succeeded"
    hypervisor = pool.get(bench.host.uri)
    wait_until(
        lambda: hypervisor.agent_facts(str(guest.pk)).hostname or None, timeout_s=BOOT_S, what="the agent", every_s=0.5
    )
    line = line_of(guest)
    line.type("")
    line.log_in("root", PASSWORD, timeout_s=BOOT_S)
    line.ask("echo first > /root/note; sync")

    whole = backups.backup(guest)
    assert (whole.why_full, whole.frozen) == ("first", True)
    line.ask("echo second > /root/note")  # not yet on the disk: the agent has it written
    _row, operation = backups.ask(guest)
    killed = work(operation, die_at="backup.create:save:after", data=Path(settings.DATA_DIR))
    assert killed.returncode == -9, killed.stderr
    lapse(operation)
    bench.settle()
    changed = backups.fresh(operation.subject_id)
    assert (changed.state, changed.changed_only) == ("ready", True), changed.problem
    assert changed.read_bytes < whole.read_bytes
    assert line.ask("cat /root/note") == "second", "nothing is frozen or held"
    line.ask("echo third > /root/note")
    twin = clone_of(bench, guest)
    line.ask("echo fourth > /root/note; sync")
    line.close()
    assert not Path(backup_socket(bench.host.run_dir, guest.pk)).exists()
    assert bench.findings() == []

    assert run(backups.deed(whole, "delete").pk) == "succeeded"
    assert run(bench.ask(guest, "purge").pk) == "succeeded"
    made = backups.deed(changed, "restore_guest", name="again")
    assert run(made.pk) == "succeeded", Operation.objects.get(pk=made.pk).error_detail

    with tenant_scope(bench.house.tenant):
        again = Guest.objects.select_related("tenant", "host").get(pk=made.subject_id)
    line = line_of(again)
    line.log_in("root", PASSWORD, timeout_s=BOOT_S)
    assert line.ask("cat /root/note") == "second"
    goes_back_in_place(backups, again, line, tmp_path)
    line = line_of(twin)
    line.type("")  # it may have asked before anybody listened
    line.log_in("root", PASSWORD, timeout_s=BOOT_S)
    assert line.ask("cat /root/note") == "third", "as it was when it was asked for, and its agent wrote it"
    line.close()
    assert run(bench.ask(twin, "purge").pk) == "succeeded"
    assert run(bench.ask(again, "stop").pk) == "succeeded"
    off = by_the_clock(bench, again)
    assert off.why_full == "off"
    assert run(backups.deed(off, "verify").pk) == "succeeded"
    assert bench.findings() == []
    assert run(bench.ask(again, "purge").pk) == "succeeded"
