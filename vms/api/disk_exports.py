"""REST: disks as files to take away."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictInt

from operations.api import OperationOut, accepted
from operations.models import Operation
from operations.selectors import operations_live_on
from portal.core.bodies import Body, Listed, Listing, narrowed, narrowed_to, refuse_unknown
from portal.core.errors import FieldError, Invalid
from portal.core.etags import etag_of, find
from tenants.api.tenants import tenant_in_path
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.fit import FitOut, fit_out
from vms.api.pick import pick, refuse
from vms.files import disk_export_response
from vms.models import DiskExport, Guest, Snapshot, Volume
from vms.selectors.disk_exports import disk_export_page, disk_exports_visible
from vms.selectors.guests import guests_visible
from vms.selectors.snapshots import snapshots_visible
from vms.selectors.volumes import volumes_visible
from vms.services.disk_exports import disk_export_create, disk_export_delete, disk_export_fit
from vms.services.volumes.check import POSITIONS
from vms.states import ExportState

router = Router(tags=["disk exports"])
ONE = "/disk-exports/{disk_export_id}"
FILE = {"schema": {"type": "string", "format": "binary"}}
CONTENT: dict[str, Any] = {
    "parameters": [
        {
            "name": name,
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": description,
        }
        for name, description in (
            ("Range", "One range, such as `bytes=1048576-`; several get the whole file."),
            ("If-Range", "The `ETag` of what was fetched so far; where the file is another one, all of it comes."),
        )
    ],
    "responses": {
        200: {"description": "The file.", "content": {"application/octet-stream": FILE}},
        206: {"description": "The range of it that was asked for.", "content": {"application/octet-stream": FILE}},
        416: {"description": "The range lies outside of the file; `Content-Range` says how large that is."},
    },
}


class DiskExportOut(BaseModel):
    """A disk as it was at one moment, as one compressed qcow2 file that stands on no other."""

    id: str
    name: str = Field(description="What the disk was called.")
    file_name: str = Field(description="What the file is called when it is fetched.")
    state: ExportState
    guest: str | None = Field(description="The machine that had the disk; null where none had it, or it is gone.")
    guest_name: str | None
    volume: str | None = Field(description="Null where it is gone.")
    position: int = Field(description="The disk's place in the machine; 0 is the first disk.")
    size_gib: int = Field(description="How large the disk is.")
    size: int | None = Field(description="Bytes of the file.")
    sha256: str | None = Field(description="Of the file, byte for byte as it is fetched.")
    problem: str | None
    made_by: str
    operation: str | None = Field(description="The operation that is making it.")
    expires_at: datetime | None = Field(description="When the file goes.")
    created_at: datetime


class DiskExportIn(Body):
    """Which disk: exactly one of `guest`, `volume` and `snapshot`, by id or name."""

    guest: str = Field(default="", max_length=63, description="A machine, as it is now.")
    volume: str = Field(default="", max_length=63, description="A volume, as it is now.")
    snapshot: str = Field(default="", max_length=63, description="A snapshot of a machine or a volume, as it was then.")
    position: StrictInt | None = Field(
        default=None,
        ge=0,
        le=max(POSITIONS),
        description="Which disk of the machine, by its place; the first if left out.",
    )


class DiskExportQuery(Listing):
    """Filters of exported disks."""

    sort: str = Field(default="-created_at", max_length=40, description="`created_at`, `name`, or with `-`")
    guest: str = Field(default="", max_length=40, description="Id of a machine.")
    volume: str = Field(default="", max_length=40, description="Id of a volume.")
    state: ExportState | None = None


def disk_export_out(export: DiskExport, operation: Operation | None = None) -> DiskExportOut:
    """An exported disk as JSON shows it."""
    return DiskExportOut(
        id=str(export.pk),
        name=export.name,
        file_name=export.file_name,
        state=ExportState(export.state),
        guest=str(export.guest_id) if export.guest_id else None,
        guest_name=export.guest_name or None,
        volume=str(export.volume_id) if export.volume_id else None,
        position=export.position,
        size_gib=export.size_gib,
        size=export.size or None,
        sha256=export.sha256 or None,
        problem=export.problem or None,
        made_by=export.made_by,
        operation=str(operation.pk) if operation is not None else None,
        expires_at=export.expires_at,
        created_at=export.created_at,
    )


def _find(request: HttpRequest, pk: str) -> DiskExport:
    reach = disk_exports_visible(request.actor)
    return find(request, DiskExport.objects.filter(pk__in=reach.values("pk")).select_related("guest", "tenant"), pk)


@router.get("/disk-exports", response=Listed[DiskExportOut], summary="List exported disks")
def disk_export_list(request: HttpRequest, query: Query[DiskExportQuery]) -> dict[str, Any]:
    """Files that were made of this project's disks; those that are gone are shown for some days."""
    request.actor.require(Permission.SNAPSHOT_VIEW)
    refuse_unknown(request, query)
    rows = narrowed_to(disk_exports_visible(request.actor), guest=query.guest, volume=query.volume)
    rows = narrowed(rows, state=query.state)
    if query.q:
        rows = rows.filter(name__icontains=query.q)
    page = disk_export_page(rows, sort=query.sort, limit=query.limit, cursor=query.cursor)
    live = operations_live_on("diskexport", [export.pk for export in page.items])
    return {"items": [disk_export_out(row, live.get(row.pk)) for row in page.items], "next": page.next}


@router.post("/disk-exports", response={202: OperationOut, 200: FitOut}, exclude_unset=True, summary="Export a disk")
def disk_export_post(
    request: HttpRequest, response: HttpResponse, body: DiskExportIn, dry_run: bool = False
) -> Status[OperationOut] | Status[FitOut]:
    """Have a file made of a disk, to be fetched for a day; the operation's subject is the exported disk.

    Of a machine or a volume as it is now a snapshot is taken for it, which is the only moment it is held, and goes afterwards.
    All that is on the disk is in the file, secrets and host keys, too. `dry_run` says whether there is room.
    """
    tenant_in_path(request)
    request.actor.require(Permission.SNAPSHOT_MANAGE)
    of = _of(request, body)
    if dry_run:
        return Status(200, fit_out(disk_export_fit(of, actor=request.actor, position=body.position)))
    return accepted(request, response, disk_export_create(of, actor=request.actor, position=body.position))


def _of(request: HttpRequest, body: DiskExportIn) -> Guest | Volume | Snapshot:
    """The one thing that the body names; raises ``Invalid`` for none, several, or what is not there."""
    if [bool(word) for word in (body.guest, body.volume, body.snapshot)].count(True) != 1:
        raise Invalid(errors=[FieldError("/guest", "one_of", _("Name a machine, or a volume, or a snapshot."))])
    if body.volume and body.position is not None:
        raise Invalid(errors=[FieldError("/position", "unknown", _("A volume is one disk by itself."))])
    actor = request.actor
    errors: list[FieldError] = []
    found: Guest | Volume | Snapshot | None
    if body.guest:
        found = pick(guests_visible(actor).filter(binned_at=None), body.guest, "/guest", errors)
    elif body.volume:
        found = pick(volumes_visible(actor), body.volume, "/volume", errors)
    else:
        found = pick(snapshots_visible(actor), body.snapshot, "/snapshot", errors)
    refuse(errors)
    assert found is not None
    return found


@router.get(ONE, response=DiskExportOut, summary="Get an exported disk")
def disk_export_get(request: HttpRequest, disk_export_id: str, response: HttpResponse) -> DiskExportOut:
    """What became of it, how large the file is, and its checksum."""
    request.actor.require(Permission.SNAPSHOT_VIEW)
    export = _find(request, disk_export_id)
    response["ETag"] = etag_of(export)
    return disk_export_out(export, operations_live_on("diskexport", [export.pk]).get(export.pk))


@router.delete(ONE, response={204: None}, summary="Delete an exported disk")
def disk_export_remove(request: HttpRequest, disk_export_id: str) -> Status[None]:
    """Let go of the file. One that is still being made is called off by its operation."""
    disk_export_delete(_find(request, disk_export_id), actor=request.actor)
    return Status(204, None)


@router.get(f"{ONE}/content", summary="Fetch an exported disk", openapi_extra=CONTENT)
def disk_export_content_get(request: HttpRequest, disk_export_id: str) -> HttpResponse:
    """The qcow2 file, whole or a range of it, so that a fetch that broke off goes on where it was. Who fetched stands in the
    audit log.
    """
    return disk_export_response(request, _find(request, disk_export_id))
