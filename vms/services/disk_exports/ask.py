"""A disk is to be taken away as a file: allowed? possible? is there room for it? One transaction."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import Q, Sum
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Conflict, Forbidden, Invalid, PortalError
from portal.core.units import GIB
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.ledger import installation_journal_lock, journal_lock
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.scoping import every_tenant
from tenants.services.quota import quota_foresee
from vms.models import DiskExport, Guest, Snapshot, SnapshotDisk, Volume
from vms.services.copies.source import disk_at, disks_now, passing_snapshot, readable, refuse_too_large, refuse_uncopied
from vms.services.disk_exports.keep import disk_export_say
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.create import Fit
from vms.services.snapshots.record import snapshot_cost
from vms.services.volumes.check import require_reach
from vms.services.volumes.record import copy_hold
from vms.states import ExportState


@dataclass(frozen=True, slots=True)
class Source:
    """The disk that is read, in the snapshot that holds it, and the machine that has it, if one has."""

    disk: SnapshotDisk
    guest: Guest | None


@transaction.atomic
def disk_export_create(of: Guest | Volume | Snapshot, *, actor: Actor, position: int | None = None) -> Operation:
    """Make a file of a disk: of a machine or a volume as it is now, or of a snapshot; the operation is about the file.

    Of a machine or a snapshot the first disk, if no ``position`` is named. As it is now means: in a snapshot that is taken for
    it and goes afterwards; what uses the disk is held for that moment alone. Raises ``Invalid``, or ``Conflict`` as a snapshot
    does and where there are too many such files or no room.
    """
    actor.require(Permission.SNAPSHOT_MANAGE)
    source = _then(of, position, actor) if isinstance(of, Snapshot) else _now(of, position, actor)
    disk, guest, tenant = source.disk, source.guest, of.tenant
    journal_lock(tenant)  # two of a project take turns, and then two of the installation
    installation_journal_lock()
    refuse_full(tenant, disk.size_gib)
    export = DiskExport.objects.create(
        tenant=tenant,
        name=disk.volume.name,
        volume=disk.volume,
        guest=guest,
        guest_name=guest.name if guest is not None else "",
        position=disk.position,
        size_gib=disk.size_gib,
        made_by=actor.label,
    )
    operation = operation_submit(
        export,
        kind="volume.export",
        actor=actor,
        holds=[Hold("diskexport", export.pk), copy_hold(disk.snapshot_id)],
        params={"snapshot": str(disk.snapshot_id), "disk": str(disk.pk)},
    )
    audit_record(actor, "disk_export.create", export, of=of.name, machine=export.guest_name)
    disk_export_say(export)
    return operation


@transaction.atomic
def disk_export_fit(of: Guest | Volume | Snapshot, *, actor: Actor, position: int | None = None) -> Fit:
    """The answer that ``disk_export_create`` would give, and what it takes of the quota for its moment; changes nothing."""
    actor.require(Permission.SNAPSHOT_MANAGE)
    try:
        if isinstance(of, Snapshot):
            disk, cost = _then(of, position, actor).disk, dict[str, int]()
        else:
            disk, cost = _foreseen(of, position, actor), snapshot_cost(of if isinstance(of, Guest) else None)
        refuse_full(of.tenant, disk.size_gib)
    except (Forbidden, Invalid):
        raise
    except PortalError as error:
        return Fit(False, [(error.code, error.sentence)], [], 0)
    lines = quota_foresee(of.tenant, cost)
    reasons = [("over_quota", line.refusal().sentence) for line in lines if line.is_short]
    return Fit(not reasons, reasons, lines, 0)


def refuse_full(tenant: Tenant, size_gib: int) -> None:
    """Raise ``Conflict`` where one file more, of a disk that large, is one too many for the project or for the portal's storage.

    What is still being made counts as large as its disk, since it may become that. Needs the tenant's scope.
    """
    making = DiskExport.objects.filter(state=ExportState.MAKING)
    if making.count() >= settings.CAPS["disk_exports_at_once"]:
        raise Conflict(
            _("This project is exporting as many disks as it can at once."),
            code="too_many_exports",
            hint=_("Wait until one of them is ready."),
        )
    with_file = DiskExport.objects.filter(state__in=[ExportState.MAKING, ExportState.READY])
    if with_file.count() >= settings.CAPS["disk_exports"]:
        raise Conflict(
            _("This project has as many exported disks as it can have."),
            code="too_many_exports",
            hint=_("Delete one that you have fetched."),
        )
    room = settings.EXPORT_ROOM_GIB * GIB
    mine = _taken()
    with every_tenant(why="exported disks of all share the portal's storage"):
        taken = _taken()
    if mine + size_gib * GIB > room // 2 or taken + size_gib * GIB > room:
        raise Conflict(
            _("The portal has no room to keep an exported disk of %(size)s GiB right now."),
            code="no_room_to_export",
            hint=_("Delete exported disks that you have fetched, or try again later."),
            size=size_gib,
        )


def _taken() -> int:
    """Bytes that such files take, or may come to take, in the scope that is open."""
    making, ready = Q(state=ExportState.MAKING), Q(state=ExportState.READY)
    sums = DiskExport.objects.aggregate(gib=Sum("size_gib", filter=making), size=Sum("size", filter=ready))
    return (sums["gib"] or 0) * GIB + (sums["size"] or 0)


def _now(of: Guest | Volume, position: int | None, actor: Actor) -> Source:
    require_reach(actor, of if isinstance(of, Guest) else of.guest)
    _snapshot, disks = passing_snapshot(of, actor=actor)
    return Source(_exported(disks, position), of if isinstance(of, Guest) else of.guest)


def _then(snapshot: Snapshot, position: int | None, actor: Actor) -> Source:
    _row, guest, disks = readable(snapshot, actor=actor)
    return Source(_exported(disks, position), guest)


def _foreseen(of: Guest | Volume, position: int | None, actor: Actor) -> SnapshotDisk:
    """The disk that would be read; raises what would be raised."""
    guest = of if isinstance(of, Guest) else of.guest
    require_reach(actor, guest)
    if guest is not None:
        refuse_unless_allowed(guest, "snapshot.create", actor)
    alone = [] if isinstance(of, Guest) else [SnapshotDisk(volume=of, position=of.position, size_gib=of.size_gib)]
    disks = disks_now(of) if isinstance(of, Guest) else alone
    refuse_uncopied(disks, now=True)
    return _exported(disks, position)


def _exported(disks: list[SnapshotDisk], position: int | None) -> SnapshotDisk:
    disk = disk_at(disks, position)
    refuse_too_large(disk)
    return disk
