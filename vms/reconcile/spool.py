"""Files on the portal's own storage beside what rows say of them: a part of the oracle."""

from __future__ import annotations

from collections.abc import Iterator

from operations.models import Operation
from operations.states import LIVE
from vms.models import DiskExport
from vms.services.disk_exports import disk_export_path
from vms.services.disk_exports.keep import disk_exports_strays
from vms.services.image_files import image_files_stray
from vms.states import ExportState


def spool_differs() -> Iterator[str]:
    """I2: each exported disk that is ready has its file, each file its row; somebody makes what is being made."""
    for export in DiskExport.objects.filter(state=ExportState.READY):
        path = disk_export_path(export)
        if not path.exists():
            yield f"I2 exported disk {export.pk} has no file"
        elif path.stat().st_size != export.size:
            yield f"I2 exported disk {export.pk} is {path.stat().st_size} bytes, its row says {export.size}"
    for path in disk_exports_strays():
        yield f"I2 file {path.name} belongs to no exported disk"
    for path in image_files_stray():
        yield f"I2 file {path.name} belongs to no image; manage.py stray_images lists and removes such"
    live = Operation.objects.filter(kind="volume.export", status__in=LIVE).values("subject_id")
    for export in DiskExport.objects.filter(state=ExportState.MAKING).exclude(pk__in=live):
        yield f"I6 exported disk {export.pk} is said to be made, and nobody makes it"
