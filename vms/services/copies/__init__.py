"""What people may make of disks as they were at one moment: volumes, machines, images; every write, one transaction each."""

from vms.services.copies.guest import CloneSpec, guest_clone, guest_clone_fit
from vms.services.copies.image import image_capture
from vms.services.copies.volume import snapshot_to_volume, snapshot_volume_fit

__all__ = [
    "CloneSpec",
    "guest_clone",
    "guest_clone_fit",
    "image_capture",
    "snapshot_to_volume",
    "snapshot_volume_fit",
]
