"""What people may make of disks as they were at one moment: volumes, machines, images; every write, one transaction each."""

from vms.services.copies.guest import CloneSpec, guest_clone, guest_clone_fit
from vms.services.copies.image import image_capture, image_capture_fit
from vms.services.copies.source import disks_now
from vms.services.copies.volume import snapshot_to_volume, snapshot_volume_fit

__all__ = [
    "CloneSpec",
    "disks_now",
    "guest_clone",
    "guest_clone_fit",
    "image_capture",
    "image_capture_fit",
    "snapshot_to_volume",
    "snapshot_volume_fit",
]
