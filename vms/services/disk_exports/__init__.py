"""Disks as files to take away; every write, one transaction each."""

from vms.services.disk_exports.ask import disk_export_create, disk_export_fit
from vms.services.disk_exports.keep import (
    disk_export_content,
    disk_export_delete,
    disk_export_file,
    disk_export_given,
    disk_export_path,
    disk_export_record,
    disk_exports_tidy,
)

__all__ = [
    "disk_export_content",
    "disk_export_create",
    "disk_export_delete",
    "disk_export_file",
    "disk_export_fit",
    "disk_export_given",
    "disk_export_path",
    "disk_export_record",
    "disk_exports_tidy",
]
