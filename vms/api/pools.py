"""REST for operators: storage pools of hosts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool

from operations.api import OperationOut, accepted
from portal.core.bodies import Body, Listed, Listing, Nothing, listed, narrowed
from portal.core.errors import FieldError
from portal.core.etags import etag_of, find
from portal.core.ids import uuid_or_none
from portal.core.paging import Sorts
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.pick import pick, refuse
from vms.models import Host, StorageClass, StoragePool
from vms.selectors.pools import pools_shown
from vms.services.pools import PoolWish, pool_add, pool_offer, pool_prepare, pool_remove

router = Router(tags=["operators: storage pools"])
SORTS: Sorts = {"name": ("name", "id")}


class StoragePoolOut(BaseModel):
    """Where volumes lie on a host; bytes as last reported.

    `share` is the name under which several hosts see the same storage. Sold is what volumes there may come to take, written
    what they take; `allocation` is what is taken by anything at all.
    """

    id: str
    name: str
    host: str
    kind: str
    path: str
    source: str
    servers: list[str]
    share: str
    storage_class: str
    enabled: bool
    ready_at: datetime | None = Field(description="Since when volumes can be put there.")
    problem: str | None
    sold_gib: int
    capacity: int
    allocation: int
    available: int
    written: int


class StoragePoolQuery(Listing):
    """Filters of storage pools."""

    sort: str = Field(default="name", max_length=40, description="`name`, `-name`")
    host: str = Field(default="", max_length=40)


class StoragePoolPatch(Body):
    """Whether new volumes are put there."""

    enabled: StrictBool = True


class StoragePoolIn(Body):
    """A pool of a host to be taken in."""

    host: str = Field(max_length=64, description="Id or name.")
    name: str = Field(
        max_length=31, description="A word; of a kind that hosts share, those of one word are the same storage."
    )
    kind: str = Field(
        max_length=12, description="`dir`, `shared` (a directory that is mounted already), `nfs`, `lvm`, `rbd`"
    )
    storage_class: str = Field(max_length=40, description="Id or name.")
    path: str = Field(default="", max_length=255, description="Of a directory, or where an export is mounted.")
    source: str = Field(default="", max_length=255, description="An NFS export, a volume group, or a Ceph pool.")
    servers: list[str] = Field(default=[], max_length=9, description="NFS's server, or Ceph's monitors.")
    account: str = Field(default="", max_length=63, description="Ceph's name for the host.")
    secret: str = Field(default="", max_length=36, description="Uuid of the secret that libvirt keeps on the host.")


def storage_out(pool: Any) -> StoragePoolOut:
    """A pool of ``pools_shown`` as JSON shows it."""
    return StoragePoolOut(
        id=str(pool.pk),
        name=pool.name,
        host=str(pool.host_id),
        kind=pool.kind,
        path=pool.path,
        source=pool.source,
        servers=pool.servers,
        share=pool.share,
        storage_class=pool.storage_class.name,
        enabled=pool.enabled,
        ready_at=pool.ready_at,
        problem=pool.problem or None,
        sold_gib=pool.sold_gib,
        capacity=pool.capacity,
        allocation=pool.allocation,
        available=pool.available,
        written=pool.written,
    )


def _find(request: HttpRequest, pool_id: str) -> StoragePool:
    request.actor.require(Permission.OPERATE)
    return find(request, pools_shown(), pool_id)


def _shown(response: HttpResponse, pool: StoragePool) -> StoragePoolOut:
    response["ETag"] = etag_of(pool)
    return storage_out(pool)


@router.get("/storage-pools", response=Listed[StoragePoolOut], summary="List storage pools")
def storage_pool_list(request: HttpRequest, query: Query[StoragePoolQuery]) -> dict[str, Any]:
    """Storage pools of all hosts."""
    request.actor.require(Permission.OPERATE)
    rows = narrowed(pools_shown(), name__icontains=query.q)
    if query.host:
        pk = uuid_or_none(query.host)
        rows = rows.filter(**({"host__name": query.host} if pk is None else {"host": pk}))
    return listed(request, query, rows, sorts=SORTS, out=storage_out)


@router.get("/storage-pools/{pool_id}", response=StoragePoolOut, summary="Get a storage pool")
def storage_pool_get(request: HttpRequest, pool_id: str, response: HttpResponse) -> StoragePoolOut:
    """One storage pool."""
    return _shown(response, _find(request, pool_id))


@router.post("/storage-pools", response={202: OperationOut}, exclude_unset=True, summary="Take a storage pool in")
def storage_pool_post(request: HttpRequest, response: HttpResponse, body: StoragePoolIn) -> Status[OperationOut]:
    """A worker prepares it on its host; volumes of its class are put there from then on. The subject is the pool."""
    request.actor.require(Permission.OPERATE)
    errors: list[FieldError] = []
    host = pick(Host.objects.all(), body.host, "/host", errors)
    storage_class = pick(StorageClass.objects.all(), body.storage_class, "/storage_class", errors)
    if host is None or storage_class is None:
        refuse(errors)
    assert host is not None
    assert storage_class is not None
    wish = PoolWish(
        word=body.name,
        kind=body.kind,
        storage_class=storage_class,
        path=body.path,
        source=body.source,
        servers=tuple(body.servers),
        account=body.account,
        secret=body.secret,
    )
    _pool, operation = pool_add(host, wish, actor=request.actor)
    return accepted(request, response, operation)


@router.patch("/storage-pools/{pool_id}", response=StoragePoolOut, summary="Change a storage pool")
def storage_pool_patch(
    request: HttpRequest, pool_id: str, response: HttpResponse, body: StoragePoolPatch
) -> StoragePoolOut:
    """Put new volumes there, or no more (`enabled`); what lies there stays."""
    pool = _find(request, pool_id)
    if "enabled" in body.model_fields_set:
        pool_offer(pool, enabled=body.enabled, actor=request.actor)
    return _shown(response, pools_shown().get(pk=pool.pk))


@router.post(
    "/storage-pools/{pool_id}/prepare", response={202: OperationOut}, exclude_unset=True, summary="Prepare a pool anew"
)
def storage_pool_prepare(
    request: HttpRequest, pool_id: str, response: HttpResponse, body: Nothing | None = None
) -> Status[OperationOut]:
    """After a mend on its host."""
    return accepted(request, response, pool_prepare(_find(request, pool_id), actor=request.actor))


@router.delete(
    "/storage-pools/{pool_id}", response={202: OperationOut}, exclude_unset=True, summary="Give a storage pool up"
)
def storage_pool_remove(request: HttpRequest, pool_id: str, response: HttpResponse) -> Status[OperationOut]:
    """Its host forgets it; refused while volumes lie there. What else is in it stays."""
    return accepted(request, response, pool_remove(_find(request, pool_id), actor=request.actor))
