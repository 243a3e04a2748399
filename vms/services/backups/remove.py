"""A backup is deleted: its row says so at once, its bytes go when nobody else is using the repository."""

from __future__ import annotations

from django.db import transaction

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Missing
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import Backup
from vms.services.backups.record import backup_told
from vms.services.volumes.check import require_reach
from vms.states import BackupState


@transaction.atomic
def backup_delete(backup: Backup, *, actor: Actor) -> Operation:
    """Delete it for good; no other backup needs it. Raises ``Conflict`` while it is made, restored or verified."""
    actor.require(Permission.BACKUP_MANAGE, backup)
    backup = backup_to_change(backup)
    require_reach(actor, backup.guest)
    backup.state = BackupState.DELETING
    backup.version += 1
    backup.save(update_fields=["state", "version"])
    operation = operation_submit(backup, kind="backup.delete", actor=actor, holds=[Hold("backup", backup.pk)])
    audit_record(actor, "backup.delete", backup, guest=backup.guest_name)
    backup_told(backup)
    return operation


def backup_to_change(backup: Backup) -> Backup:
    """The backup, read anew and locked; raises ``Missing`` where it is gone."""
    rows = Backup.objects.select_for_update(of=("self",))
    found = rows.select_related("tenant", "guest", "repository", "image", "flavor").filter(pk=backup.pk).first()
    if found is None:
        raise Missing
    return found
