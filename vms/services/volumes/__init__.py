"""What people may do with volumes; every write, one transaction each."""

from vms.services.volumes.attach import volume_attach, volume_detach
from vms.services.volumes.change import volume_edit, volume_extend, volume_limit, volume_mend
from vms.services.volumes.create import volume_create
from vms.services.volumes.record import volume_follow, volume_record, volumes_going
from vms.services.volumes.remove import volume_delete

__all__ = [
    "volume_attach",
    "volume_create",
    "volume_delete",
    "volume_detach",
    "volume_edit",
    "volume_extend",
    "volume_follow",
    "volume_limit",
    "volume_mend",
    "volume_record",
    "volumes_going",
]
