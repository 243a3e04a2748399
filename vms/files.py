"""What leaves the portal as a file that lies on its disk."""

from __future__ import annotations

from django.http import HttpResponse

from portal.core.sendfile import MARK, file_response
from tenants.types import HttpRequest
from vms.models import DiskExport
from vms.services.disk_exports import disk_export_content, disk_export_given

RANGE_SHOWN = 100
"""How much of what was asked for the audit log keeps."""


def disk_export_response(request: HttpRequest, export: DiskExport) -> HttpResponse:
    """The exported disk's file, whole or a range of it; raises what ``disk_export_content`` raises.

    Only an answer that sends something of it is a download: not one to HEAD, nor one that says it has not changed (304), is
    another (412) or ends before that range (416).
    """
    path = disk_export_content(export, actor=request.actor)
    etag, whose = f'"{export.sha256}"', export.tenant.pk.hex
    response = file_response(request, path, size=export.size, etag=etag, name=export.file_name, whose=whose)
    if MARK in response:
        part = request.headers.get("Range", "")[:RANGE_SHOWN] if response.status_code == 206 else ""
        disk_export_given(export, actor=request.actor, part=part)
    return response
