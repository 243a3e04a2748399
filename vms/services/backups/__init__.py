"""What people may do with backups; every write, one transaction each."""

from vms.services.backups.create import backup_create
from vms.services.backups.remove import backup_delete
from vms.services.backups.restore import (
    RestoredGuest,
    RestoredVolume,
    backup_restore_fit,
    backup_restore_guest,
    backup_restore_volume,
)
from vms.services.backups.schedules import (
    backup_schedule_create,
    backup_schedule_delete,
    backup_schedule_edit,
    backup_schedule_preview,
)
from vms.services.backups.stores import store_write
from vms.services.backups.verify import backup_verify

__all__ = [
    "RestoredGuest",
    "RestoredVolume",
    "backup_create",
    "backup_delete",
    "backup_restore_fit",
    "backup_restore_guest",
    "backup_restore_volume",
    "backup_schedule_create",
    "backup_schedule_delete",
    "backup_schedule_edit",
    "backup_schedule_preview",
    "backup_verify",
    "store_write",
]
