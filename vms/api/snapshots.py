"""REST: snapshots of a tenant's machines and volumes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool

from operations.api import OperationOut, accepted
from operations.models import Operation
from operations.selectors import operations_live_on
from portal.core.bodies import Body, Listed, Listing, narrowed, narrowed_to, refuse_unknown
from portal.core.errors import FieldError, Invalid
from portal.core.etags import etag_of, find
from tenants.api.tenants import tenant_in_path
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.pick import find_held, pick, refuse
from vms.models import Guest, Snapshot, Volume
from vms.models.snapshots import Consistency
from vms.selectors.guests import guests_visible
from vms.selectors.snapshots import snapshot_page, snapshots_of, snapshots_visible
from vms.selectors.volumes import volumes_visible
from vms.services.snapshots import (
    Outlook,
    revert_foresee,
    snapshot_create,
    snapshot_delete,
    snapshot_edit,
    snapshot_revert,
)
from vms.services.snapshots.check import DESCRIPTION_MAX
from vms.states import SnapshotState

router = Router(tags=["snapshots"])


class SnapshotDiskOut(BaseModel):
    """One disk in a snapshot."""

    volume: str
    name: str
    position: int = Field(description="Its place in the machine then; 0 is the first disk.")
    size_gib: int = Field(description="How large it was. Reverting does not make it smaller again.")


class SnapshotOut(BaseModel):
    """Disks as they were at one moment; it lies in the same storage as they, and goes with them."""

    id: str
    name: str
    description: str
    guest: str | None = Field(description="The machine whose disks it holds; null for a single volume's.")
    guest_name: str | None
    state: SnapshotState
    consistency: Consistency | None = Field(
        description="`off`: the machine did not run. `frozen`: its agent said that its file systems were written and held still. "
        "`power_cut`: as if its plug had been pulled. `memory`: with all that it ran. Null until it is taken."
    )
    with_memory: bool
    size_gib: int = Field(description="How large its disks were together.")
    disks: list[SnapshotDiskOut]
    problem: str | None
    operation: str | None = Field(description="The operation that is being carried out on it.")
    taken_at: datetime | None
    created_at: datetime


class SnapshotIn(Body):
    """What is to be kept: a machine's disks together, or one volume; named by id or name."""

    name: str = Field(max_length=63, description="Small letters, digits, dots and hyphens; once a machine.")
    description: str = Field(default="", max_length=DESCRIPTION_MAX)
    guest: str = Field(default="", max_length=63, description="The machine; or else give `volume`.")
    volume: str = Field(default="", max_length=63)
    memory: StrictBool = Field(
        default=False, description="With what the machine runs: it stands still while its memory is written."
    )


class SnapshotPatch(Body):
    """What can be changed; what is left out stays."""

    name: str = Field(default="", max_length=63)
    description: str = Field(default="", max_length=DESCRIPTION_MAX)


class RevertIn(Body):
    """How to go back."""

    memory: StrictBool = Field(
        default=False, description="Have the machine go on running where it was; else it is off."
    )


class OutlookOut(BaseModel):
    """What a revert would do; nothing was changed."""

    lost_since: datetime | None = Field(description="What was written to `disks` after this is lost.")
    disks: list[str]
    untouched: list[str] = Field(
        description="Volumes of the machine that the snapshot does not hold: they stay as they are."
    )
    grown: list[str] = Field(description="Disks that are larger now; they keep their size.")
    stops: bool = Field(description="Is the machine switched off for it, without asking it?")
    memory_refused: str | None = Field(description="Why it cannot go on running where it was; null where it can.")


class SnapshotQuery(Listing):
    """Filters of snapshots."""

    sort: str = Field(default="-created_at", max_length=40, description="`created_at`, `name`, or with `-`")
    guest: str = Field(default="", max_length=40, description="Id of a machine.")
    volume: str = Field(default="", max_length=40, description="Id of a volume: its own, not those of its machine.")
    state: SnapshotState | None = None


def snapshot_out(snapshot: Snapshot, operation: Operation | None = None) -> SnapshotOut:
    """A snapshot as JSON shows it."""
    disks = sorted(snapshot.disks.all(), key=lambda disk: disk.position)
    return SnapshotOut(
        id=str(snapshot.pk),
        name=snapshot.name,
        description=snapshot.description,
        guest=str(snapshot.guest_id) if snapshot.guest_id else None,
        guest_name=snapshot.guest.name if snapshot.guest is not None else None,
        state=SnapshotState(snapshot.state),
        consistency=Consistency(snapshot.consistency) if snapshot.consistency else None,
        with_memory=snapshot.with_memory,
        size_gib=sum(disk.size_gib for disk in disks),
        disks=[
            SnapshotDiskOut(
                volume=str(disk.volume_id), name=disk.volume.name, position=disk.position, size_gib=disk.size_gib
            )
            for disk in disks
        ],
        problem=snapshot.problem or None,
        operation=str(operation.pk) if operation is not None else None,
        taken_at=snapshot.taken_at,
        created_at=snapshot.created_at,
    )


def _outlook_out(outlook: Outlook) -> OutlookOut:
    return OutlookOut(
        lost_since=outlook.since,
        disks=list(outlook.disks),
        untouched=list(outlook.untouched),
        grown=list(outlook.grown),
        stops=outlook.stops,
        memory_refused=outlook.no_memory or None,
    )


def _shown(request: HttpRequest, response: HttpResponse, pk: str) -> SnapshotOut:
    snapshot = find(request, _rows(request).prefetch_related("disks__volume"), pk)
    response["ETag"] = etag_of(snapshot)
    return snapshot_out(snapshot, operations_live_on("snapshot", [snapshot.pk]).get(snapshot.pk))


def _rows(request: HttpRequest) -> QuerySet[Snapshot]:
    return snapshots_visible(request.actor)


def _snapshot(request: HttpRequest, snapshot_id: str) -> Snapshot:
    rows = Snapshot.objects.filter(pk__in=_rows(request).values("pk"))
    return find_held(request, rows, snapshot_id, by="disks__volume__guest")


@router.get("/snapshots", response=Listed[SnapshotOut], summary="List snapshots")
def snapshot_list(request: HttpRequest, query: Query[SnapshotQuery]) -> dict[str, Any]:
    """Snapshots of this project's machines and volumes."""
    request.actor.require(Permission.SNAPSHOT_VIEW)
    refuse_unknown(request, query)
    rows = narrowed(narrowed_to(_rows(request), guest=query.guest), state=query.state)
    if query.volume:
        volume = narrowed_to(volumes_visible(request.actor), pk=query.volume).first()
        rows = rows.filter(pk__in=snapshots_of(request.actor, volume).values("pk")) if volume else rows.none()
    if query.q:
        rows = rows.filter(name__icontains=query.q)
    page = snapshot_page(rows, sort=query.sort, limit=query.limit, cursor=query.cursor)
    live = operations_live_on("snapshot", [snapshot.pk for snapshot in page.items])
    return {"items": [snapshot_out(row, live.get(row.pk)) for row in page.items], "next": page.next}


@router.post("/snapshots", response={202: OperationOut}, exclude_unset=True, summary="Take a snapshot")
def snapshot_post(request: HttpRequest, response: HttpResponse, body: SnapshotIn) -> Status[OperationOut]:
    """Of all disks of a machine at one moment, or of one volume. The operation's subject is the snapshot."""
    tenant_in_path(request)
    request.actor.require(Permission.SNAPSHOT_MANAGE)
    of = _of(request, body)
    operation = snapshot_create(
        of, name=body.name, description=body.description, memory=body.memory, actor=request.actor
    )
    return accepted(request, response, operation)


def _of(request: HttpRequest, body: SnapshotIn) -> Guest | Volume:
    """The one thing that the body names; raises ``Invalid`` for none, both, or what is not there."""
    if bool(body.guest) == bool(body.volume):
        raise Invalid(errors=[FieldError("/guest", "one_of", _("Name a machine, or else a volume."))])
    errors: list[FieldError] = []
    found: Guest | Volume | None
    if body.guest:
        found = pick(guests_visible(request.actor).filter(binned_at=None), body.guest, "/guest", errors)
    else:
        found = pick(volumes_visible(request.actor), body.volume, "/volume", errors)
    refuse(errors)
    assert found is not None
    return found


@router.get("/snapshots/{snapshot_id}", response=SnapshotOut, summary="Get a snapshot")
def snapshot_get(request: HttpRequest, snapshot_id: str, response: HttpResponse) -> SnapshotOut:
    """One snapshot."""
    request.actor.require(Permission.SNAPSHOT_VIEW)
    return _shown(request, response, snapshot_id)


@router.patch("/snapshots/{snapshot_id}", response=SnapshotOut, summary="Change a snapshot")
def snapshot_patch(request: HttpRequest, snapshot_id: str, response: HttpResponse, body: SnapshotPatch) -> SnapshotOut:
    """Rename or describe it."""
    changes = body.model_dump(exclude_unset=True)
    snapshot = snapshot_edit(_snapshot(request, snapshot_id), actor=request.actor, **changes)
    response["ETag"] = etag_of(snapshot)
    return snapshot_out(snapshot, operations_live_on("snapshot", [snapshot.pk]).get(snapshot.pk))


@router.delete(
    "/snapshots/{snapshot_id}", response={202: OperationOut}, exclude_unset=True, summary="Delete a snapshot"
)
def snapshot_remove(request: HttpRequest, snapshot_id: str, response: HttpResponse) -> Status[OperationOut]:
    """The disks stay as they are, other snapshots, too; also while the machine runs."""
    return accepted(request, response, snapshot_delete(_snapshot(request, snapshot_id), actor=request.actor))


@router.post(
    "/snapshots/{snapshot_id}/revert",
    response={202: OperationOut, 200: OutlookOut},
    exclude_unset=True,
    summary="Revert to a snapshot",
)
def snapshot_revert_post(
    request: HttpRequest,
    snapshot_id: str,
    response: HttpResponse,
    body: RevertIn | None = None,
    dry_run: bool = False,
) -> Status[OperationOut] | Status[OutlookOut]:
    """Put its disks back to what they were. A machine that runs is switched off, without asking it, and stays off; with
    `memory` it goes on running where it was. A single volume's machine must be off. `dry_run` says what would happen.
    """
    snapshot = _snapshot(request, snapshot_id)
    if dry_run:
        request.actor.require(Permission.SNAPSHOT_MANAGE, snapshot)
        return Status(200, _outlook_out(revert_foresee(snapshot)))
    memory = (body or RevertIn()).memory
    return accepted(request, response, snapshot_revert(snapshot, memory=memory, actor=request.actor))
