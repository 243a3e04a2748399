"""Backup schedules on a bench: planned, changed, and moved from moment to moment, really or only in rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from operations.models import Operation
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.vms.reconcile.bench import Bench
from vms.models import Backup, BackupSchedule, BackupTurn, Guest
from vms.services import backups as services
from vms.services.backups.retention import Keep
from vms.services.backups.schedules import ScheduleSpec
from vms.services.backups.slots import backup_schedules_run

DAY = timedelta(days=1)
DUE = timedelta(seconds=5)
QUIET = {"opened": 0, "asked": 0, "tidied": 0}


def planned(bench: Bench, *guests: Guest, **more: Any) -> BackupSchedule:
    spec = ScheduleSpec(**{"name": "nightly", "window_minutes": 0, "guests": guests, "keep": Keep(last=2), **more})
    with tenant_scope(bench.house.tenant):
        return services.backup_schedule_create(bench.house.tenant, spec, actor=bench.house.actor)


def edited(row: BackupSchedule, bench: Bench, **changes: Any) -> BackupSchedule:
    with tenant_scope(bench.house.tenant):
        return services.backup_schedule_edit(row, actor=bench.house.actor, **changes)


def fresh(row: BackupSchedule) -> BackupSchedule:
    with every_tenant(why="test"):
        return BackupSchedule.objects.select_related("tenant").get(pk=row.pk)


def next_of(row: BackupSchedule) -> datetime:
    moment = fresh(row).next_at
    assert moment is not None
    return moment


def turns(row: BackupSchedule) -> list[tuple[str, str]]:
    with every_tenant(why="test"):
        rows = BackupTurn.objects.filter(schedule=row.pk).order_by("slot", "guest__name")
        return list(rows.values_list("state", "code"))


def made(row: BackupSchedule) -> list[Backup]:
    with every_tenant(why="test"):
        return list(Backup.objects.select_related("repository__store").filter(schedule=row.pk).order_by("slot"))


def round_of(row: BackupSchedule, bench: Bench) -> None:
    """Its next moment, whole: begun, made, and what it no longer keeps deleted."""
    due = next_of(row)
    assert backup_schedules_run(at=due)["opened"] == 1
    bench.settle()
    backup_schedules_run(at=due + DUE)
    bench.settle()


def pretended(bench: Bench, *, broken: bool = False) -> None:
    """What is queued ends, well or not, without a host or a store."""
    with tenant_scope(bench.house.tenant):
        for operation in Operation.objects.filter(status="queued", kind__startswith="backup."):
            if broken:
                factories.operation_broken(operation)
                continue
            Backup.objects.filter(pk=operation.subject_id).update(snapshot="0" * 8)
            factories.operation_done(operation)


def moment_of(row: BackupSchedule, bench: Bench, *, broken: bool = False) -> None:
    """Its next moment, only pretended."""
    due = next_of(row)
    assert backup_schedules_run(at=due)["opened"] == 1
    pretended(bench, broken=broken)
    backup_schedules_run(at=due + DUE)
    pretended(bench)
