"""A machine with two disks and a backup of both, what is asked of it, and what is looked at afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from operations.models import Operation
from operations.runner import run
from tenants.models import Quota
from tenants.scoping import every_tenant, tenant_scope
from tests.vms.reconcile.backup_lives import Backups
from tests.vms.reconcile.copy_lives import words_in
from tests.vms.reconcile.volume_lives import Disks
from vms.models import Backup, Guest, Volume
from vms.names import volume_name
from vms.services import putback as services
from vms.states import Power

THEN = {0: b"root then", 1: b"data then"}


@dataclass
class PutBacks:
    """A bench with a place for backups."""

    backups: Backups

    @property
    def bench(self) -> Any:
        return self.backups.bench

    @property
    def disks(self) -> Disks:
        return Disks(self.bench)

    def machine(self, power: Power = Power.RUNNING) -> tuple[Guest, Backup]:
        """One that has a data volume, and a backup of both disks; it does as ``power`` says afterwards."""
        guest = self.bench.guest()
        self.disks.volume(guest)
        for position, content in THEN.items():
            self.backups.write(guest, content, position=position)
        backup = self.backups.backup(guest)
        action = {Power.STOPPED: "stop", Power.SUSPENDED: "suspend", Power.PAUSED: "pause"}.get(power)
        if action is not None:
            assert run(self.bench.ask(guest, action).pk) == "succeeded"
        return self.bench.fresh(guest), backup

    def ask(self, backup: Backup, **more: Any) -> Operation:
        """By the tenant's owner, who lets the machine be stopped."""
        with tenant_scope(self.bench.house.tenant):
            fresh = self.backups.fresh(backup.pk)
            return services.backup_put_back(fresh, **{"actor": self.bench.house.actor, "stop": True, **more})

    def foresee(self, backup: Backup, **more: Any) -> services.Outlook:
        with tenant_scope(self.bench.house.tenant):
            fresh = self.backups.fresh(backup.pk)
            return services.put_back_foresee(fresh, **{"actor": self.bench.house.actor, "stop": True, **more})

    def done(self, backup: Backup, **more: Any) -> Operation:
        operation = self.ask(backup, **more)
        assert run(operation.pk) == "succeeded", error_of(operation)
        return operation

    def volumes(self, guest: Guest | None) -> dict[int, Volume]:
        """Those of the machine by their places; by numbers from 0 those of none."""
        with every_tenant(why="test"):
            rows = Volume.objects.select_related("pool__host", "storage_class", "guest").filter(guest=guest)
            if guest is None:
                return dict(enumerate(rows.order_by("name")))
            return {row.position: row for row in rows}

    def words_on(self, volume: Volume) -> str:
        """What was sent to its place."""
        content = self.bench.on_host.sent[f"{self.bench.host.data_dir}/pool/{volume_name(volume.pk)}"]
        return words_in(content, volume.size_gib << 30)

    def has(self, guest: Guest) -> dict[str, tuple[str, str | None, int | None]]:
        """What it would start with, and does where it runs: by target the file, serial and place in the order of starting."""
        domain = self.bench.on_host.domains[str(guest.pk)]
        assert domain.spec is not None
        disks = {
            disk.target: (disk.path.rsplit("/", 1)[1], disk.serial, disk.boot_order)
            for disk in domain.spec.disks
            if "/vol-" in disk.path
        }
        if domain.power in ("running", "paused"):
            assert {disk.path.rsplit("/", 1)[1] for disk in domain.live if "/vol-" in disk.path} == {
                path for path, _serial, _order in disks.values()
            }
        return disks

    def used(self) -> dict[str, int]:
        rows = Quota.objects.filter(tenant=self.bench.house.tenant, used__gt=0)
        return dict(rows.exclude(resource="backups_gib").values_list("resource", "used"))

    def gained(self, before: dict[str, int]) -> dict[str, int]:
        """What the quota counts more than then."""
        more = {name: number - before.get(name, 0) for name, number in self.used().items()}
        return {name: number for name, number in more.items() if number}

    def assert_put_back(self, guest: Guest, before: dict[int, Volume], *, power: Power, kept: bool = True) -> None:
        """Both disks are those of the backup, known as the former ones were; those are nobody's, or gone."""
        assert self.bench.findings() == []
        now = self.volumes(guest)
        assert {place: self.words_on(row) for place, row in now.items()} == {0: "root then", 1: "data then"}
        known = [(row.position, row.name, row.serial, row.boot_order) for row in now.values()]
        assert known == [(row.position, row.name, row.serial, row.boot_order) for row in before.values()]
        assert {target: serial for target, (_path, serial, _order) in self.has(guest).items()} == {
            "vda": before[0].serial,
            "vdb": before[1].serial,
        }
        assert self.bench.fresh(guest).seen_power == power
        free = self.volumes(None).values()
        assert {row.pk for row in free} == ({row.pk for row in before.values()} if kept else set())

    @contextmanager
    def nothing_changes(self, guest: Guest) -> Iterator[None]:
        """Rows, host and books of the machine are the same afterwards, and no volume is there that was not before."""
        before = self.state(guest)
        yield
        assert self.state(guest) == before
        assert self.bench.findings() == []

    def state(self, guest: Guest) -> tuple[Any, ...]:
        """Its disks by rows and on its host, what it does, what the quota counts, and the volumes of none."""
        disks = {
            place: (row.pk, row.name, row.serial, row.size_gib, row.state) for place, row in self.volumes(guest).items()
        }
        row = self.bench.fresh(guest)
        free = {row.pk for row in self.volumes(None).values()}
        return disks, self.has(guest), row.seen_power, row.image_id, self.used(), free


def error_of(operation: Operation) -> str:
    operation.refresh_from_db()
    return f"{operation.error_code} {operation.error_message} {operation.error_detail}".strip()
