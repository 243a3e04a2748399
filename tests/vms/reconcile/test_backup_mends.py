"""Backups where something broke off, changed since, or is not what the rows say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from operations.models import Operation
from operations.runner import run
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tests.vms.reconcile.backup_lives import Backups
from tests.vms.reconcile.lives import at_points
from tests.vms.reconcile.snapshot_lives import Shots
from vms.backups import restic
from vms.hypervisor.errors import Refused
from vms.models import Backup, BackupRepository, Guest, Image, Volume
from vms.reconcile.stores import repository_place
from vms.services import backups as services
from vms.services.guests import guest_edit
from vms.states import VolumeState
from vms.views.backups import backup_shown, guest_backups


def test_a_repository_whose_removal_breaks_off_is_no_longer_in_the_way(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = backups.bench.guest()
    backup = backups.backup(guest, b"one")
    place = Path(repository_place(backup.repository).url)

    def broken(folder: Path) -> None:
        (folder / "config").unlink()
        raise OSError("read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(restic.shutil, "rmtree", broken)
        assert run(backups.deed(backup, "delete").pk) == "failed"
    assert backups.quota() == 0, "what is put aside is the operators' to remove"
    again = backups.backup(guest, b"two")
    assert run(backups.deed(backup, "delete").pk) == "succeeded"
    assert run(backups.deed(again, "delete").pk) == "succeeded"

    assert list(place.parent.iterdir()) == []
    assert backups.bench.findings() == []


def test_the_audit_says_where_store_and_rows_differ(backups: Backups) -> None:
    bench = backups.bench
    backup = backups.backup(bench.guest(), b"one")
    with every_tenant(why="test"):
        Backup.objects.filter(pk=backup.pk).update(snapshot="f" * 8)
        BackupRepository.objects.update(charged_gib=5)

    found = "\n".join(bench.findings())

    assert f"lack {backup.name}" in found
    assert f"hold {backup.snapshot[:8]}, which no row names" in found
    assert "I3 backups of" in found
    assert "I5 backups of" in found
    backups.folder.rename(backups.folder.with_name("away"))
    assert any("cannot be looked at" in line for line in bench.findings())


def test_a_restored_machine_is_built_as_it_was_and_wears_the_tags_that_are_asked_for(backups: Backups) -> None:
    bench = backups.bench
    guest = bench.guest()
    with tenant_scope(bench.house.tenant):
        guest_edit(guest, tags=["mine"], actor=bench.house.actor)
        Guest.objects.filter(pk=guest.pk).update(firmware="uefi", disk_bus="sata")
    backup = backups.backup(bench.fresh(guest), b"one")
    with every_tenant(why="test"):
        Image.objects.update(disk_bus="scsi", firmware="bios")
    tags = (frozenset({"mine"}),)
    narrow = dict.fromkeys((Permission.GUEST_VIEW, Permission.GUEST_CREATE, Permission.GUEST_EDIT), tags)
    actor = replace(bench.house.actor, tagged=narrow)

    with tenant_scope(bench.house.tenant):
        spec = services.RestoredGuest(name="again", tags=("mine",), start=False)
        made = services.backup_restore_guest(backup, spec, actor=actor)
        again = Guest.objects.get(pk=made.subject_id)

        assert (again.firmware, again.disk_bus, again.tag_names()) == ("uefi", "sata", ["mine"])


def test_a_worker_that_thaws_writes_over_no_disk_that_is_there(backups: Backups) -> None:
    bench = backups.bench
    backup = backups.backup(bench.guest(), b"one")
    operation = backups.deed(backup, "restore_volume", name="old-root")
    bench.on_host.fail("upload_volume", Refused("it is in use"))

    def faster(point: str) -> None:
        if point.startswith("volume.create:") and point.endswith(":before"):
            with every_tenant(why="test"):
                Volume.objects.filter(pk=operation.subject_id).update(state=VolumeState.READY)

    with at_points(faster):
        assert run(operation.pk) == "succeeded", Operation.objects.get(pk=operation.pk).error_detail


def test_buttons_are_there_for_machines_within_reach_alone(backups: Backups) -> None:
    bench, house = backups.bench, backups.bench.house
    guest = bench.guest()
    narrow = replace(house.actor, tagged={Permission.GUEST_EDIT: (frozenset({"mine"}),)})
    with tenant_scope(house.tenant):
        backup = Backup(tenant=house.tenant, name="b", guest=bench.fresh(guest), guest_name="g", state="ready")
        shown = [backup_shown(backup, None, actor, house.tenant.slug) for actor in (house.actor, narrow)]
        offered = [guest_backups(actor, bench.fresh(guest), house.tenant.slug) for actor in (house.actor, narrow)]

    assert [(each["may_use"], each["may_delete"]) for each in shown] == [(True, True), (False, False)]
    assert [each["may_back_up"] for each in offered] == [True, False]


def test_what_comes_out_of_a_store_has_a_day_and_without_it_there_is_no_empty_disk_in_its_place(
    backups: Backups,
) -> None:
    bench = backups.bench
    backup = backups.backup(bench.guest(), b"one")
    asked = [backups.deed(backup, verb, name="again") for verb in ("restore_guest", "restore_volume")]
    assert {operation.deadline_at - operation.created_at for operation in asked} == {timedelta(days=1)}
    with every_tenant(why="test"):
        Volume.objects.update(source=None)
        paid = Volume.objects.count()

    for operation in asked:
        assert run(operation.pk) == "failed"
        operation.refresh_from_db()
        assert operation.error_code == "source_gone"
    bench.settle()

    with every_tenant(why="test"):
        assert Volume.objects.count() == paid - 2
    assert bench.findings() == []


def test_after_a_disk_went_back_to_a_snapshot_all_of_it_is_read(backups: Backups) -> None:
    """What it became then, no bitmap saw being written."""
    bench = backups.bench
    guest = bench.guest()
    snapshot = Shots(bench).snapshot(guest)
    backups.backup(guest, b"one")
    assert backups.backup(guest, b"two").changed_only

    assert run(Shots(bench).ask(snapshot, "revert").pk) == "succeeded"
    assert run(bench.ask(guest, "start").pk) == "succeeded"

    assert backups.backup(guest, b"three").why_full == "unknown"
    assert backups.backup(guest, b"four").changed_only
    assert bench.findings() == []
