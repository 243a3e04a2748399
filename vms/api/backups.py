"""REST: backups of a tenant's machines; where they are kept, for operators."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.db.models import Q
from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool

from operations.api import OperationOut, accepted
from operations.models import Operation
from operations.selectors import operations_live_on
from portal.core.bodies import Body, Listed, Listing, Nothing, listed, narrowed, narrowed_to, refuse_unknown
from portal.core.errors import FieldError
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts, keyset_page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.pick import pick, refuse
from vms.models import Backup, BackupDisk, BackupStore
from vms.selectors.backups import BACKUP_SORTS, backups_visible
from vms.selectors.guests import guests_visible
from vms.services.backups import (
    backup_create,
    backup_delete,
    backup_verify,
    store_write,
)
from vms.states import BackupState

router = Router(tags=["backups"])
operators = Router(tags=["operators: backups"])
STORE_SORTS: Sorts = {"name": ("name", "id")}


class BackupDiskOut(BaseModel):
    """One disk of a backup; 0 is the machine's first."""

    position: int
    name: str
    size_gib: int


class BackupOut(BaseModel):
    """All disks of a machine at one moment. Each is whole by itself: deleting one harms no other."""

    id: str
    name: str
    guest: str | None = Field(description="Null once the machine is gone.")
    guest_name: str
    state: BackupState
    problem: str | None
    size_gib: int = Field(description="What its disks take when they are restored.")
    disks: list[BackupDiskOut]
    changed_only: bool = Field(description="Was only read what had changed since a former backup?")
    why_full: str | None = Field(
        description="Why all of it was read: `first` of its machine, `asked`, the machine was `off`, its `disks` are other "
        "ones, what had changed was `unknown`, or the `store` lacked the former one."
    )
    frozen: bool = Field(description="Did the machine's agent hold its file systems for that moment?")
    read_bytes: int
    added_bytes: int = Field(description="What was new to the store.")
    verified: bool | None = Field(description="Was it whole when it was last read back? Null: it never was.")
    verified_at: datetime | None
    operation: str | None = Field(description="The operation that is being carried out on it.")
    created_at: datetime


class BackupIn(Body):
    """A machine to be backed up, by id or name."""

    guest: str = Field(max_length=63)
    name: str = Field(default="", max_length=63, description="Named after the machine where empty.")
    full: StrictBool = Field(default=False, description="Read all of it, also what has not changed.")


class BackupQuery(Listing):
    """Filters of backups."""

    sort: str = Field(default="-created_at", max_length=40, description="`created_at`, `name`, or with `-`")
    q: str = Field(default="", max_length=100, description="Part of its name or its machine's.")
    guest: str = Field(default="", max_length=40)
    state: BackupState | None = None


class StoreQuery(Listing):
    """Stores."""

    sort: str = Field(default="name", max_length=40, description="`name`, `-name`")


class StoreOut(BaseModel):
    """A place for backups; its keys are never shown."""

    id: str
    name: str
    kind: str
    location: str
    has_keys: bool
    enabled: bool
    created_at: datetime


class StoreIn(Body):
    """A place for backups."""

    name: str = Field(max_length=40)
    kind: Literal["folder", "s3"]
    location: str = Field(max_length=255, description="An absolute folder, or `https://endpoint/bucket/prefix`.")
    access_key: str = Field(default="", max_length=200)
    secret_key: str = Field(default="", max_length=200)
    enabled: StrictBool = True


class StorePatch(Body):
    """What is changed of a store; what is left out stays."""

    name: str = Field(default="", max_length=40)
    access_key: str = Field(default="", max_length=200)
    secret_key: str = Field(default="", max_length=200)
    enabled: StrictBool = True


def backup_out(backup: Backup, operation: Operation | None = None) -> BackupOut:
    """A backup as JSON shows it; its disks were read with it."""
    disks = [_disk_out(disk) for disk in backup.disks.all()]
    return BackupOut(
        id=str(backup.pk),
        name=backup.name,
        guest=str(backup.guest_id) if backup.guest_id else None,
        guest_name=backup.guest_name,
        state=BackupState(backup.state),
        problem=backup.problem or None,
        size_gib=sum(disk.size_gib for disk in disks),
        disks=disks,
        changed_only=backup.changed_only,
        why_full=backup.why_full or None,
        frozen=backup.frozen,
        read_bytes=backup.read_bytes,
        added_bytes=backup.added_bytes,
        verified=backup.verified if backup.verified_at is not None else None,
        verified_at=backup.verified_at,
        operation=str(operation.pk) if operation is not None else None,
        created_at=backup.created_at,
    )


def _disk_out(disk: BackupDisk) -> BackupDiskOut:
    return BackupDiskOut(position=disk.position, name=disk.name, size_gib=disk.size_gib)


def _backup(request: HttpRequest, backup_id: str) -> Backup:
    return find(request, backups_visible(request.actor), backup_id)


@router.get("/backups", response=Listed[BackupOut], summary="List backups")
def backup_list(request: HttpRequest, query: Query[BackupQuery]) -> dict[str, Any]:
    """Backups of this project's machines."""
    request.actor.require(Permission.BACKUP_VIEW)
    refuse_unknown(request, query)
    rows = narrowed(narrowed_to(backups_visible(request.actor), guest=query.guest), state=query.state)
    if query.q:
        rows = rows.filter(Q(name__icontains=query.q) | Q(guest_name__icontains=query.q))
    page = keyset_page(rows, sorts=BACKUP_SORTS, sort=query.sort, limit=query.limit, cursor=query.cursor)
    live = operations_live_on("backup", [backup.pk for backup in page.items])
    return {"items": [backup_out(backup, live.get(backup.pk)) for backup in page.items], "next": page.next}


@router.post("/backups", response={202: OperationOut}, exclude_unset=True, summary="Back up a machine")
def backup_post(request: HttpRequest, response: HttpResponse, body: BackupIn) -> Status[OperationOut]:
    """All its disks at one moment, also while it runs. The operation's subject is the backup."""
    request.actor.require(Permission.BACKUP_MANAGE)
    errors: list[FieldError] = []
    guest = pick(guests_visible(request.actor).filter(binned_at=None), body.guest, "/guest", errors)
    refuse(errors)
    assert guest is not None
    operation = backup_create(guest, actor=request.actor, name=body.name, full=body.full)
    return accepted(request, response, operation)


@router.get("/backups/{backup_id}", response=BackupOut, summary="Get a backup")
def backup_get(request: HttpRequest, backup_id: str, response: HttpResponse) -> BackupOut:
    """One backup."""
    request.actor.require(Permission.BACKUP_VIEW)
    backup = _backup(request, backup_id)
    response["ETag"] = etag_of(backup)
    return backup_out(backup, operations_live_on("backup", [backup.pk]).get(backup.pk))


@router.delete("/backups/{backup_id}", response={202: OperationOut}, exclude_unset=True, summary="Delete a backup")
def backup_remove(request: HttpRequest, backup_id: str, response: HttpResponse) -> Status[OperationOut]:
    """For good, with what only it holds in the store."""
    return accepted(request, response, backup_delete(_backup(request, backup_id), actor=request.actor))


@router.post("/backups/{backup_id}/verify", response={202: OperationOut}, exclude_unset=True, summary="Verify a backup")
def backup_verify_post(
    request: HttpRequest, backup_id: str, response: HttpResponse, body: Nothing | None = None
) -> Status[OperationOut]:
    """Read all of it back and compare; the backup says afterwards what came of it."""
    return accepted(request, response, backup_verify(_backup(request, backup_id), actor=request.actor))


def store_out(store: BackupStore) -> StoreOut:
    """A store as JSON shows it."""
    return StoreOut(
        id=str(store.pk),
        name=store.name,
        kind=store.kind,
        location=store.location,
        has_keys=bool(store.access_key or store.secret_key),
        enabled=store.enabled,
        created_at=store.created_at,
    )


@operators.get("/backup-stores", response=Listed[StoreOut], summary="List backup stores")
def store_list(request: HttpRequest, query: Query[StoreQuery]) -> dict[str, Any]:
    """Places for backups."""
    request.actor.require(Permission.OPERATE)
    return listed(request, query, BackupStore.objects.all(), sorts=STORE_SORTS, out=store_out)


@operators.post("/backup-stores", response={201: StoreOut}, summary="Add a backup store")
def store_post(request: HttpRequest, response: HttpResponse, body: StoreIn) -> Status[StoreOut]:
    """Of those that are enabled the oldest takes the backups of tenants that have none yet."""
    store = store_write(None, actor=request.actor, **body.model_dump())
    response["ETag"] = etag_of(store)
    return Status(201, store_out(store))


@operators.get("/backup-stores/{store_id}", response=StoreOut, summary="Get a backup store")
def store_get(request: HttpRequest, store_id: str, response: HttpResponse) -> StoreOut:
    """One place for backups."""
    request.actor.require(Permission.OPERATE)
    store = find(request, BackupStore.objects.all(), store_id)
    response["ETag"] = etag_of(store)
    return store_out(store)


@operators.patch("/backup-stores/{store_id}", response=StoreOut, summary="Change a backup store")
def store_patch(request: HttpRequest, store_id: str, response: HttpResponse, body: StorePatch) -> StoreOut:
    """Its name, its keys, or whether it takes more; backups that are there stay."""
    request.actor.require(Permission.OPERATE)
    store = find(request, BackupStore.objects.all(), store_id)
    now = {name: getattr(store, name) for name in ("name", "kind", "location", "enabled")}
    store = store_write(store, actor=request.actor, **now | body.model_dump(exclude_unset=True))
    response["ETag"] = etag_of(store)
    return store_out(store)
