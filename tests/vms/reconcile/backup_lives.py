"""What is asked of backups on a bench, and what is looked at afterwards; the store is a folder, or behind an S3 address."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operations.models import Operation
from operations.runner import run
from tenants.models import Quota
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.vms.reconcile.bench import Bench
from vms.models import Backup, BackupRepository, BackupStore, Guest, Volume
from vms.names import pool_name, volume_name
from vms.selectors.installation import installation_owner
from vms.services import backups as services
from vms.services.backups.retention import repository_tidy
from vms.states import BackupState, Power

_numbers = itertools.count(1)
MIB = 1024**2


@dataclass
class Backups:
    """A bench with a place for backups."""

    bench: Bench
    folder: Path
    s3: str = ""
    """Where the store is instead."""
    store: BackupStore = field(init=False)

    def __post_init__(self) -> None:
        with every_tenant(why="test"):
            place = {"kind": "folder", "location": str(self.folder)}
            if self.s3:
                place = {"kind": "s3", "location": self.s3, "access_key": "key", "secret_key": "hunter2"}
            self.store = services.store_write(None, actor=factories.desk(), name="store", **place)

    def write(self, guest: Guest, content: bytes, *, position: int = 0) -> None:
        """From inside the machine: these are the first bytes of its disk."""
        self.bench.on_host.written[self.path(guest, position)] = content

    def path(self, guest: Guest, position: int = 0) -> str:
        with every_tenant(why="test"):
            volume = Volume.objects.get(guest=guest, position=position)
        pool = self.bench.on_host.pools[pool_name(installation_owner())]
        return pool.volumes[volume_name(volume.pk)][0].path

    def ask(self, guest: Guest, **more: object) -> tuple[Backup, Operation]:
        with tenant_scope(self.bench.house.tenant):
            operation = services.backup_create(
                self.bench.fresh(guest), actor=self.bench.house.actor, name=f"b{next(_numbers)}", **more
            )
        return self.fresh(operation.subject_id), operation

    def backup(self, guest: Guest, content: bytes | None = None) -> Backup:
        """One that is ready."""
        if content is not None:
            self.write(guest, content)
        backup, operation = self.ask(guest)
        assert run(operation.pk) == "succeeded", Operation.objects.get(pk=operation.pk).error_detail
        return self.fresh(backup.pk)

    def deed(self, backup: Backup, verb: str, **more: object) -> Operation:
        """``delete``, ``verify``, ``restore_guest`` or ``restore_volume``, by the tenant's owner or ``actor``."""
        actor = more.pop("actor", self.bench.house.actor)
        made: Any = {"restore_guest": services.RestoredGuest, "restore_volume": services.RestoredVolume}.get(verb)
        spec = (made(**more),) if made is not None else ()
        with tenant_scope(self.bench.house.tenant):
            service: Callable[..., Operation] = getattr(services, f"backup_{verb}")
            return service(self.fresh(backup.pk), *spec, actor=actor)

    def fresh(self, pk: object) -> Backup:
        with every_tenant(why="test"):
            rows = Backup.objects.select_related("tenant", "repository__store", "guest", "image", "flavor")
            return rows.get(pk=pk)

    def is_gone(self, backup: Backup) -> bool:
        with every_tenant(why="test"):
            return not Backup.objects.filter(pk=backup.pk).exists()

    def forget_repository(self) -> None:
        """As before the first backup of all."""
        with every_tenant(why="test"):
            BackupRepository.objects.update(made_at=None)

    def quota(self) -> int:
        return Quota.objects.get(tenant=self.bench.house.tenant, resource="backups_gib").used

    def is_closed(self, guest: Guest) -> bool:
        """Nothing of its disks is held open on the host."""
        return str(guest.pk) not in self.bench.on_host.held


def forget_backups(bench: Bench) -> None:
    """No backup of the bench's tenant any more."""
    with tenant_scope(bench.house.tenant):
        for backup in Backup.objects.all():
            services.backup_delete(backup, actor=bench.house.actor)
    bench.settle()


@dataclass(frozen=True, slots=True)
class BackupRecipe:
    """``ask`` makes what is needed and submits; afterwards the backup is there, or gone."""

    kind: str
    ask: Callable[[Backups], tuple[Guest, Backup, Operation]]
    gone: bool = False


def _create(power: Power, *, second: bool = False) -> Callable[[Backups], tuple[Guest, Backup, Operation]]:
    def ask(backups: Backups) -> tuple[Guest, Backup, Operation]:
        guest = backups.bench.guest(power)
        if second:
            backups.backup(guest, b"one")
        backups.write(guest, b"two")
        return guest, *backups.ask(guest)

    return ask


def _then(verb: str) -> Callable[[Backups], tuple[Guest, Backup, Operation]]:
    def ask(backups: Backups) -> tuple[Guest, Backup, Operation]:
        guest = backups.bench.guest()
        backup = backups.backup(guest, b"one")
        return guest, backup, backups.deed(backup, verb)

    return ask


def _tidy(backups: Backups) -> tuple[Guest, Backup, Operation]:
    guest = backups.bench.guest()
    old = backups.backup(guest, b"one")
    backups.backup(guest, b"two")
    with tenant_scope(backups.bench.house.tenant):
        Backup.objects.filter(pk=old.pk).update(state=BackupState.DELETING)
        return guest, old, repository_tidy(old.repository, [old.pk], actor=backups.bench.house.actor)


BACKUP_RECIPES = {
    "back up a running machine": BackupRecipe("backup.create", _create(Power.RUNNING)),
    "back up what changed": BackupRecipe("backup.create", _create(Power.RUNNING, second=True)),
    "back up a stopped machine": BackupRecipe("backup.create", _create(Power.STOPPED)),
    "verify": BackupRecipe("backup.verify", _then("verify")),
    "delete": BackupRecipe("backup.delete", _then("delete"), gone=True),
    "let go of many": BackupRecipe("backup.tidy", _tidy, gone=True),
}

__all__ = ["BACKUP_RECIPES", "MIB", "BackupRecipe", "BackupState", "Backups"]
