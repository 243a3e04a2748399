"""A backup is read back, to nowhere, and compared with its checksums."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import Backup
from vms.services.backups.record import backup_told
from vms.services.backups.remove import backup_to_change
from vms.services.volumes.check import require_reach
from vms.states import BackupState


@transaction.atomic
def backup_verify(backup: Backup, *, actor: Actor) -> Operation:
    """Have all of it read and compared. Raises ``Conflict`` (``backup_not_ready``)."""
    actor.require(Permission.BACKUP_MANAGE, backup)
    backup = backup_to_change(backup)
    require_reach(actor, backup.guest)
    refuse_unready(backup)
    operation = operation_submit(
        backup,
        kind="backup.verify",
        actor=actor,
        holds=[
            Hold("backup", backup.pk, exclusive=False),
            Hold("backup_repository", backup.repository_id, exclusive=False),
        ],
    )
    audit_record(actor, "backup.verify", backup)
    backup_told(backup)
    return operation


def refuse_unready(backup: Backup) -> None:
    """Raise ``Conflict`` unless it can be read."""
    if backup.state != BackupState.READY:
        raise Conflict(_("This backup is not whole."), code="backup_not_ready", state=backup.state, hint="")
