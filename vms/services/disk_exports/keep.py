"""The files of exported disks: in place, given out, and gone in time; each is named by its row's id and its own checksum."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from portal.core.clock import now
from portal.core.errors import Conflict
from portal.core.ids import uuid_or_none
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from vms.models import DiskExport
from vms.services.images import unlink_on_commit
from vms.services.volumes.check import require_reach
from vms.states import ExportState

log = structlog.get_logger(__name__)
ABANDONED_S: Final = 3600
ENDED: Final = (ExportState.FAILED, ExportState.EXPIRED)


def disk_exports_dir() -> Path:
    """Where the files lie; made on first use, closed to others."""
    path = Path(settings.DATA_DIR) / "exports"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def disk_export_file(export: DiskExport, sha256: str) -> Path:
    """Where a file of these bytes lies for it, whatever the disk is called.

    Two attempts may pack the same disk into other bytes, and a restored database may remember those of the first: by its name
    no file passes for another one.
    """
    return disk_exports_dir() / f"{export.pk.hex}-{sha256}.qcow2"


def disk_export_path(export: DiskExport) -> Path:
    """Where the file lies whose checksum the row has."""
    return disk_export_file(export, export.sha256)


def disk_export_say(export: DiskExport) -> None:
    """Tell whoever looks at it that it changed."""
    event_append(export.tenant, "disk_export.changed", "disk_export", export.pk)


def disk_export_record(export: DiskExport, *, size: int, sha256: str) -> None:
    """The worker has put the file in place; it is given out when the operation has ended well. Repeatable."""
    DiskExport.objects.filter(pk=export.pk, state=ExportState.MAKING).update(size=size, sha256=sha256)


def disk_export_settle(operation: Operation) -> None:
    """Made: it waits to be fetched, and no longer than ``EXPORT_KEEP``. Not made: it says why, and there is no file."""
    rows = DiskExport.objects.select_for_update(no_key=True, of=("self",)).select_related("tenant")
    export = rows.filter(pk=operation.subject_id, state=ExportState.MAKING).first()
    if export is None:
        return
    if operation.status == "succeeded":
        export.state, export.expires_at = ExportState.READY, now() + settings.EXPORT_KEEP
    else:
        export.state, export.problem, export.ended_at = ExportState.FAILED, operation.error_message, now()
        export.size, export.sha256 = 0, ""
        _unlink_on_commit(export)
    export.version += 1
    export.save()
    disk_export_say(export)


def disk_export_content(export: DiskExport, *, actor: Actor) -> Path:
    """The file to give out; ``disk_export_given`` is called before anything of it is sent.

    Reading a disk's bytes is what making a copy of it allows, so it takes the same right, on the same machines. Raises
    ``Conflict`` where there is no file (yet, or any more).
    """
    actor.require(Permission.SNAPSHOT_MANAGE, export)
    require_reach(actor, export.guest)
    if export.state != ExportState.READY or export.expires_at is None or export.expires_at <= now():
        raise Conflict(_("There is no file to fetch."), code="export_not_ready", state=export.state, hint="")
    return disk_export_path(export)


@transaction.atomic
def disk_export_given(export: DiskExport, *, actor: Actor, part: str = "") -> None:
    """Who was given the file stands in the audit log; ``part`` is the range that they asked for, empty for all of it."""
    audit_record(actor, "disk_export.download", export, part=part)


@transaction.atomic
def disk_export_delete(export: DiskExport, *, actor: Actor) -> None:
    """Let go of the file and forget it; whoever is just fetching it comes to its end.

    Raises ``Conflict`` while it is being made: its operation is what to call off.
    """
    actor.require(Permission.SNAPSHOT_MANAGE, export)
    require_reach(actor, export.guest)
    rows = DiskExport.objects.select_for_update(of=("self",)).select_related("tenant")
    export = rows.get(pk=export.pk)
    if export.state == ExportState.MAKING:
        raise Conflict(_("It is still being made."), code="export_under_way", hint=_("Cancel its operation first."))
    audit_record(actor, "disk_export.delete", export)
    _forget(export)


def _forget(export: DiskExport) -> None:
    tenant, pk = export.tenant, export.pk
    _unlink_on_commit(export)
    export.delete()
    event_append(tenant, "disk_export.deleted", "disk_export", pk)


def _unlink_on_commit(export: DiskExport) -> None:
    """Whatever any attempt has put in place for it."""
    for file in disk_exports_dir().glob(f"{export.pk.hex}-*.qcow2"):
        unlink_on_commit(file)


def disk_exports_tidy(*, at: datetime) -> dict[str, int]:
    """Let go of files whose time is over, of the rows of those long gone, and of files that no row names; how many each.

    Needs every tenant's scope. Safe to repeat.
    """
    rows = DiskExport.objects.select_related("tenant")
    expired = [row for row in rows.filter(state=ExportState.READY, expires_at__lte=at) if _expire(row, at)]
    old = list(rows.filter(state__in=ENDED, ended_at__lt=at - settings.EXPORT_RECORD_KEEP))
    for export in old:
        with tenant_scope(export.tenant), transaction.atomic():
            _forget(export)
    return {"expired": len(expired), "forgotten": len(old), "strays": _strays_go()}


def _expire(export: DiskExport, at: datetime) -> bool:
    with tenant_scope(export.tenant), transaction.atomic():
        rows = DiskExport.objects.select_for_update(no_key=True, of=("self",)).select_related("tenant")
        row = rows.filter(pk=export.pk, state=ExportState.READY).first()
        if row is None:
            return False
        row.state, row.ended_at = ExportState.EXPIRED, at
        row.version += 1
        row.save(update_fields=["state", "ended_at", "version"])
        _unlink_on_commit(row)
        audit_record(system_actor(row.tenant, why="exports"), "disk_export.expire", row)
        disk_export_say(row)
    return True


def _strays_go() -> int:
    """Of a death between a row's end and its file's, or of a worker that froze: files that nobody needs, once they are old."""
    gone = 0
    for path in disk_exports_strays():
        try:
            if time.time() - path.stat().st_mtime < ABANDONED_S:
                continue
        except FileNotFoundError:  # it went since we looked
            continue
        path.unlink(missing_ok=True)
        gone += 1
    return gone


def disk_exports_strays() -> list[Path]:
    """Files that belong to no row: of what is ready all but the one it names; of what is being made none. Needs every tenant's
    scope.
    """
    files = {path: uuid_or_none(path.stem.partition("-")[0]) for path in disk_exports_dir().iterdir()}
    rows = DiskExport.objects.filter(pk__in=[pk for pk in files.values() if pk]).exclude(state__in=ENDED)
    known = {row.pk: row for row in rows}

    def is_stray(path: Path, pk: UUID | None) -> bool:
        row = known.get(pk) if pk is not None else None
        return row is None or (row.state == ExportState.READY and path != disk_export_path(row))

    return sorted(path for path, pk in files.items() if is_stray(path, pk))
