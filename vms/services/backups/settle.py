"""What the end of an operation on a backup returns or confirms; in the ending transaction, for every terminal status."""

from __future__ import annotations

from operations.models import Operation
from operations.states import Status
from tenants.actors import system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.services.quota import quota_release
from vms.models import Backup
from vms.services.backups.record import backup_locked, backup_told, repository_settle
from vms.states import BackupState


def created(operation: Operation) -> None:
    """Whole: ready, and its repository counts what it takes. Not whole: it says why, and what was reserved returns.

    What of it is in the store by then goes with the next deletion; the next backup of the machine closes what was left open.
    """
    backup = backup_locked(operation)
    if backup is None:
        return
    quota_release(backup.tenant, {"backups_gib": backup.reserved_gib})
    backup.reserved_gib = 0
    whole = operation.status == Status.SUCCEEDED
    backup.state = BackupState.READY if whole else BackupState.ERROR
    backup.problem = "" if whole else operation.error_message
    if not whole:
        backup.snapshot = backup.checkpoint = ""
    backup.version += 1
    backup.save()
    repository_settle(backup.repository)
    backup_told(backup)


def deleted(operation: Operation) -> None:
    """Gone from the store: its row goes, and the repository counts what is left. Not gone: it can be deleted again."""
    backup = backup_locked(operation)
    if backup is None:
        return
    if operation.status != Status.SUCCEEDED:
        backup.problem = operation.error_message
        backup.version += 1
        backup.save(update_fields=["problem", "version"])
        backup_told(backup)
        return
    tenant, pk, guest = backup.tenant, backup.pk, backup.guest_id
    repository_settle(backup.repository)
    audit_record(system_actor(tenant, why="settle"), "backup.deleted", backup)
    Backup.objects.filter(pk=pk).delete()
    event_append(tenant, "backup.deleted", "backup", pk)
    if guest is not None:
        event_append(tenant, "guest.changed", "guest", guest)


def verified(operation: Operation) -> None:
    """Its row says the verdict already."""
    backup = backup_locked(operation)
    if backup is not None:
        backup_told(backup)
