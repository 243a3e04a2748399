"""What the end of an operation on a backup returns or confirms; in the ending transaction, for every terminal status."""

from __future__ import annotations

from operations.models import Operation
from operations.states import Status
from tenants.actors import system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.services.quota import quota_release
from vms.models import Backup, BackupRepository, BackupTurn, Guest
from vms.services.backups.record import backup_locked, backup_told, repository_settle
from vms.services.backups.retention import repository_tidy
from vms.states import BackupState, TurnState


def created(operation: Operation) -> None:
    """Whole: ready, and its repository counts what it takes. Not whole: it says why, and what was reserved returns.

    What attempts that came to nothing left in the store is taken out at once; what they left open the next backup closes.
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
    if backup.slot is not None:
        turn = BackupTurn.objects.filter(schedule=backup.schedule_id, guest=backup.guest_id, slot=backup.slot)
        turn.update(state=TurnState.MADE if whole else TurnState.FAILED, code=operation.error_code)
    if backup.schedule_id is not None:
        event_append(backup.tenant, "backup_schedule.changed", "backup_schedule", backup.schedule_id)
    left_some = operation.attempts > (1 if whole else 0)
    if left_some and not _tidies(backup.repository):
        repository_tidy(backup.repository, actor=system_actor(backup.tenant, why="settle"))
    backup_told(backup)


def _tidies(repository: BackupRepository) -> bool:
    """Is there work that has not begun, and will take out all that no row names?"""
    waiting = Operation.objects.filter(kind="backup.tidy", subject_id=repository.pk, status=Status.QUEUED)
    return waiting.exists()


def deleted(operation: Operation) -> None:
    """Gone from the store: its row goes, and the repository counts what is left. Not gone: it can be deleted again."""
    backup = backup_locked(operation)
    if backup is None:
        return
    repository_settle(backup.repository)
    if operation.status != Status.SUCCEEDED:
        backup.problem = operation.error_message
        backup.version += 1
        backup.save(update_fields=["problem", "version"])
        backup_told(backup)
        return
    _gone(backup)


def tidied(operation: Operation) -> None:
    """Gone from the store: the rows that were to go do, and the repository counts what is left. Not gone: they say why."""
    repository = BackupRepository.objects.select_related("store", "tenant").filter(pk=operation.subject_id).first()
    going = Backup.objects.filter(pk__in=operation.params["backups"], state=BackupState.DELETING)
    list(Guest.objects.select_for_update().filter(pk__in=going.values("guest")).order_by("pk").values("pk"))
    rows = list(going.select_for_update(of=("self",)).select_related("tenant").order_by("pk"))
    done = operation.status == Status.SUCCEEDED
    if repository is not None:
        repository_settle(repository)
    for backup in rows:
        if done:
            _gone(backup)
        else:
            backup.problem = operation.error_message
            backup.version += 1
            backup.save(update_fields=["problem", "version"])
            backup_told(backup)


def _gone(backup: Backup) -> None:
    """Its row goes, now that the store holds nothing of it."""
    tenant, pk, guest = backup.tenant, backup.pk, backup.guest_id
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
