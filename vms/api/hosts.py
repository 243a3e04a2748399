"""REST for operators: compute hosts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, IPvAnyAddress, StrictBool

from operations.api import OperationOut, accepted
from portal.core.bodies import Body, Listed, Listing, Nothing, listed, narrowed
from portal.core.errors import FieldError
from portal.core.etags import etag_of, find
from portal.core.ids import uuid_or_none
from portal.core.paging import Sorts
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.pick import pick, pick_tenant, refuse
from vms.models import Host, HostPool
from vms.services.hosts import host_edit, host_enrol, host_test
from vms.states import HostState, Trait

router = Router(tags=["operators: hosts"])
NAMED: Sorts = {"name": ("name",)}
HOSTS = Host.objects.select_related("set_aside__tenant")


class HostOut(BaseModel):
    """A compute host and what was last heard of it; `unenforced` names limits its kernel cannot keep."""

    id: str
    name: str
    uri: str
    pool: str
    state: HostState
    enabled: bool
    maintenance: bool
    labels: list[str]
    set_aside_for: str | None = Field(description="Id of the tenant whose machines it takes alone.")
    accelerated: bool
    traits: list[Trait] | None = Field(description="What machines can be built of there; null: not tested for that.")
    unenforced: list[str]
    notes: list[str]
    problem: str | None
    cpus: int
    memory_mib: int
    addresses: list[str]
    facts: dict[str, Any]
    seen_at: datetime | None
    swept_at: datetime | None
    created_at: datetime


class HostQuery(Listing):
    """Filters of hosts."""

    sort: str = Field(default="name", max_length=40, description="`name`, `-name`")
    name: str = Field(default="", max_length=64)
    state: HostState | None = None
    maintenance: bool | None = None
    pool: str = Field(default="", max_length=40)


class HostIn(Body):
    """A host to be enrolled; the directories are on the host and default to this installation's."""

    uri: str = Field(max_length=255)
    name: str = Field(default="", max_length=64)
    addresses: list[IPvAnyAddress] = Field(
        default=[], max_length=64, description="Its own, which guests may not reach."
    )
    data_dir: str = Field(default="", max_length=200)
    run_dir: str = Field(default="", max_length=64)
    pool: str = Field(default="", max_length=40, description="Id or name; none: the first.")


class HostPatch(Body):
    """In maintenance a host takes no new guests; those on it stay, as they do whatever else is changed."""

    maintenance: StrictBool = False
    labels: list[str] = Field(default=[], max_length=20, description="What it has; a flavor may ask for some.")
    set_aside_for: str = Field(
        default="", max_length=40, description="Id or slug of the only tenant whose new machines it takes; empty: all."
    )


def host_out(host: Host) -> HostOut:
    """A host as JSON shows it."""
    return HostOut(
        id=str(host.pk),
        name=host.name,
        uri=host.uri,
        pool=str(host.pool_id),
        state=HostState(host.state),
        enabled=host.enabled,
        maintenance=host.maintenance,
        labels=host.labels,
        set_aside_for=None if host.set_aside_for is None else str(host.set_aside_for.pk),
        accelerated=host.accelerated,
        traits=host.traits,
        unenforced=host.unenforced,
        notes=host.notes,
        problem=host.problem or None,
        cpus=host.cpus,
        memory_mib=host.memory_mib,
        addresses=host.addresses,
        facts=host.facts,
        seen_at=host.seen_at,
        swept_at=host.swept_at,
        created_at=host.created_at,
    )


def _shown(response: HttpResponse, host: Host) -> HostOut:
    response["ETag"] = etag_of(host)
    return host_out(host)


@router.get("/hosts", response=Listed[HostOut], summary="List hosts")
def host_list(request: HttpRequest, query: Query[HostQuery]) -> dict[str, Any]:
    """Compute hosts and how they are."""
    request.actor.require(Permission.OPERATE)
    rows = narrowed(
        HOSTS.all(),
        name=query.name,
        state=query.state,
        maintenance=query.maintenance,
        name__icontains=query.q,
    )
    rows = _of(rows, "pool", query.pool)
    return listed(request, query, rows, sorts=NAMED, out=host_out)


def _of(rows: QuerySet[Host], column: str, text: str) -> QuerySet[Host]:
    """Those of the one named, by its name or its id; of any where none is."""
    pk = uuid_or_none(text)
    return narrowed(rows, **({f"{column}__name": text} if pk is None else {column: pk}))


@router.post("/hosts", response={202: OperationOut}, exclude_unset=True, summary="Enrol a host")
def host_post(request: HttpRequest, response: HttpResponse, body: HostIn) -> Status[OperationOut]:
    """Take a host in and test it; the operation's subject is the host. Enrolled already, it is tested again."""
    request.actor.require(Permission.OPERATE)
    errors: list[FieldError] = []
    pool = pick(HostPool.objects.all(), body.pool, "/pool", errors) if body.pool else None
    refuse(errors)
    _host, operation = host_enrol(
        uri=body.uri,
        name=body.name,
        addresses=[str(address) for address in body.addresses],
        data_dir=body.data_dir or str(settings.DATA_DIR),
        run_dir=body.run_dir or str(settings.RUN_DIR / "guests"),
        pool=pool,
        actor=request.actor,
    )
    return accepted(request, response, operation)


@router.get("/hosts/{host_id}", response=HostOut, summary="Get a host")
def host_get(request: HttpRequest, host_id: str, response: HttpResponse) -> HostOut:
    """One host, with the facts it told of itself."""
    request.actor.require(Permission.OPERATE)
    return _shown(response, find(request, HOSTS.all(), host_id))


@router.patch("/hosts/{host_id}", response=HostOut, summary="Change a host, or put it into maintenance")
def host_patch(request: HttpRequest, host_id: str, response: HttpResponse, body: HostPatch) -> HostOut:
    """What is left out stays as it is."""
    request.actor.require(Permission.OPERATE)
    host = find(request, HOSTS.all(), host_id)
    changes = body.model_dump(exclude_unset=True)
    if changes.get("set_aside_for") is not None:
        errors: list[FieldError] = []
        changes["set_aside_for"] = pick_tenant(body.set_aside_for, "/set_aside_for", errors)
        refuse(errors)
    return _shown(response, host_edit(host, actor=request.actor, **changes))


@router.post("/hosts/{host_id}/test", response={202: OperationOut}, exclude_unset=True, summary="Test a host")
def host_test_post(
    request: HttpRequest, host_id: str, response: HttpResponse, body: Nothing | None = None
) -> Status[OperationOut]:
    """Connect, read capabilities, and find out what it can and cannot do."""
    request.actor.require(Permission.OPERATE)
    return accepted(
        request,
        response,
        host_test(find(request, HOSTS.all(), host_id), actor=request.actor),
    )
