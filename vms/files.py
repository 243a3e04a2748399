"""What leaves the portal as a file that lies on its disk."""

from __future__ import annotations

from django.http import HttpResponse

from portal.core.sendfile import file_response
from tenants.types import HttpRequest
from vms.models import DiskExport
from vms.services.disk_exports import disk_export_content

RANGE_SHOWN = 100
"""How much of what was asked for the audit log keeps."""


def disk_export_response(request: HttpRequest, export: DiskExport) -> HttpResponse:
    """The exported disk's file, whole or a range of it; raises what ``disk_export_content`` raises."""
    path = disk_export_content(export, actor=request.actor, part=request.headers.get("Range", "")[:RANGE_SHOWN])
    etag, whose = f'"{export.sha256}"', export.tenant.pk.hex
    return file_response(request, path, size=export.size, etag=etag, name=export.file_name, whose=whose)
