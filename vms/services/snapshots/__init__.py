"""What people may do with snapshots; every write, one transaction each."""

from vms.services.snapshots.change import snapshot_delete, snapshot_edit
from vms.services.snapshots.create import snapshot_create
from vms.services.snapshots.revert import Outlook, is_in_use, revert_foresee, snapshot_revert

__all__ = [
    "Outlook",
    "is_in_use",
    "revert_foresee",
    "snapshot_create",
    "snapshot_delete",
    "snapshot_edit",
    "snapshot_revert",
]
