"""What a backup took, and who pays for it: while it is made by itself, afterwards with its tenant's repository as a whole."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.db.models import QuerySet

from operations.models import Operation
from portal.core.clock import now
from portal.core.units import GIB
from tenants.journal.events import event_append
from tenants.journal.usage import usage_switch
from tenants.services.quota import quota_lock, quota_release, quota_reserve
from vms.models import Backup, BackupRepository, Guest, Volume
from vms.states import BackupState


def backup_told(backup: Backup) -> None:
    """Tell whoever looks at it, or at its machine, that it changed."""
    event_append(backup.tenant, "backup.changed", "backup", backup.pk)
    if backup.guest_id is not None:
        event_append(backup.tenant, "guest.changed", "guest", backup.guest_id)


def backup_basis(backup: Backup) -> Backup | None:
    """The former backup that this one may build on: the newest of its machine that the host counts changes from.

    Only one of the very same disks, each as large as it was.
    """
    rows = Backup.objects.filter(guest=backup.guest_id, repository=backup.repository_id, state=BackupState.READY)
    found = rows.exclude(checkpoint="").exclude(pk=backup.pk).order_by("-created_at").first()
    if found is None or _disks(found) != _disks(backup):
        return None
    return found


def backups_outdated(volumes: Iterable[Volume]) -> None:
    """These disks become what they were, which no bitmap sees: no backup of them is a basis any more; theirs is read whole."""
    rows = Backup.objects.filter(disks__volume__in=list(volumes)).exclude(checkpoint="")
    Backup.objects.filter(pk__in=list(rows.values_list("pk", flat=True))).update(checkpoint="")


def _disks(backup: Backup) -> list[tuple[int, object, int]]:
    return list(backup.disks.order_by("position").values_list("position", "volume_id", "size_gib"))


@transaction.atomic
def backup_charge(backup: Backup, size: int) -> None:
    """Have its tenant pay for ``size`` bytes at least, before they are written; raises ``OverQuota``. Repeatable.

    Nothing for a backup that is no longer made: nobody would return it.
    """
    gib = -(-size // GIB)
    rows = Backup.objects.select_for_update(no_key=True, of=("self",)).select_related("tenant")
    row = rows.filter(pk=backup.pk, state=BackupState.CREATING).first()
    if row is not None and gib > row.reserved_gib:
        quota_reserve(row.tenant, {"backups_gib": gib - row.reserved_gib})
        row.reserved_gib = gib
        row.save(update_fields=["reserved_gib"])


def backup_record(backup: Backup, **seen: object) -> None:
    """Write down what a worker found out about it: columns of its row."""
    for name, value in seen.items():
        setattr(backup, name, value)
    backup.save(update_fields=list(seen))


def repository_record(repository: BackupRepository, *, size: int, there: bool = True) -> None:
    """Write down how much it takes, and whether it is there at all."""
    repository.size = size
    repository.made_at = (repository.made_at or now()) if there else None
    repository.save(update_fields=["size", "made_at"])


def repository_settle(repository: BackupRepository) -> None:
    """From now on quota and ledger count what the repository takes, whatever the limit; in the caller's transaction."""
    quota_lock(repository.tenant)
    repository.refresh_from_db(fields=["size", "charged_gib"])
    gib = -(-repository.size // GIB)
    quota_release(repository.tenant, {"backups_gib": max(0, repository.charged_gib - gib)})
    quota_reserve(repository.tenant, {"backups_gib": max(0, gib - repository.charged_gib)}, forced=True)
    repository.charged_gib = gib
    repository.save(update_fields=["charged_gib"])
    usage_switch(
        repository.tenant,
        resource_type="backup_repository",
        resource_id=repository.pk,
        meter="backup_gib",
        quantity=gib,
        at=now(),
        store=repository.store.name,
    )


def backups_kept(repository: BackupRepository) -> QuerySet[Backup]:
    """Those whose bytes must stay in the store."""
    return Backup.objects.filter(repository=repository, state=BackupState.READY)


def backup_locked(operation: Operation) -> Backup | None:
    """The operation's backup, locked after its machine; None where it is gone."""
    found = Backup.objects.filter(pk=operation.subject_id).first()
    if found is None:
        return None
    if found.guest_id is not None:
        list(Guest.objects.select_for_update().filter(pk=found.guest_id).values("pk"))
    rows = Backup.objects.select_for_update(of=("self",)).select_related(
        "tenant", "repository__store", "repository__tenant"
    )
    return rows.get(pk=found.pk)
