"""REST: groups of machines that are to stand on hosts of their own, or on one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool

from portal.core.bodies import Body, Listed, Listing, listed, narrowed
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts
from tenants.api.tenants import tenant_in_path
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.models import PlacementGroup
from vms.selectors.placement_groups import placement_groups_listed
from vms.services.placement_groups import placement_group_create, placement_group_delete, placement_group_edit

router = Router(tags=["placement-groups"])
SORTS: Sorts = {"name": ("name", "id"), "created_at": ("created_at", "id")}


class PlacementGroupOut(BaseModel):
    """A placement group; machines in the bin count, because they may come back."""

    id: str
    name: str
    kind: str = Field(description="`apart`: on hosts of their own. `together`: all on one.")
    strict: bool = Field(description="Is a machine refused where its rule cannot be kept?")
    guests: int
    hosts: int = Field(description="How many hosts its machines are on.")
    created_at: datetime


class PlacementGroupIn(Body):
    """A group to be made. Neither its kind nor how strict it is can be changed later."""

    name: str = Field(max_length=40)
    kind: str = Field(default="apart", max_length=8, description="`apart` or `together`")
    strict: StrictBool = True


class PlacementGroupPatch(Body):
    """Another name."""

    name: str = Field(max_length=40)


class PlacementGroupQuery(Listing):
    """Filters of placement groups."""

    sort: str = Field(default="name", max_length=40, description="`name`, `created_at`, or one with `-`")
    name: str = Field(default="", max_length=40)
    kind: str = Field(default="", max_length=8)


def placement_group_out(group: PlacementGroup) -> PlacementGroupOut:
    """A group as JSON shows it."""
    return PlacementGroupOut(
        id=str(group.pk),
        name=group.name,
        kind=group.kind,
        strict=group.strict,
        guests=group.guests_count,  # type: ignore[attr-defined]
        hosts=group.hosts_count,  # type: ignore[attr-defined]
        created_at=group.created_at,
    )


def _shown(response: HttpResponse, group: PlacementGroup) -> PlacementGroupOut:
    response["ETag"] = etag_of(group)
    return placement_group_out(placement_groups_listed().get(pk=group.pk))


@router.get("/placement-groups", response=Listed[PlacementGroupOut], summary="List placement groups")
def placement_group_list(request: HttpRequest, query: Query[PlacementGroupQuery]) -> dict[str, Any]:
    """Which machines stand apart, and which together."""
    request.actor.require(Permission.PLACEMENT_VIEW)
    rows = narrowed(placement_groups_listed(), name=query.name, kind=query.kind, name__icontains=query.q)
    return listed(request, query, rows, sorts=SORTS, out=placement_group_out)


@router.post("/placement-groups", response={201: PlacementGroupOut}, summary="Create a placement group")
def placement_group_post(
    request: HttpRequest, response: HttpResponse, body: PlacementGroupIn
) -> Status[PlacementGroupOut]:
    """There is no machine in it yet: machines are made in it, or join it."""
    tenant = tenant_in_path(request)
    group = placement_group_create(tenant, name=body.name, kind=body.kind, strict=body.strict, actor=request.actor)
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/placement-groups/{group.pk}"
    return Status(201, _shown(response, group))


@router.get("/placement-groups/{placement_group_id}", response=PlacementGroupOut, summary="Get a placement group")
def placement_group_get(request: HttpRequest, placement_group_id: str, response: HttpResponse) -> PlacementGroupOut:
    """One placement group."""
    request.actor.require(Permission.PLACEMENT_VIEW)
    return _shown(response, find(request, PlacementGroup.objects.all(), placement_group_id))


@router.patch("/placement-groups/{placement_group_id}", response=PlacementGroupOut, summary="Rename a placement group")
def placement_group_patch(
    request: HttpRequest, placement_group_id: str, response: HttpResponse, body: PlacementGroupPatch
) -> PlacementGroupOut:
    """Its machines stay in it."""
    group = find(request, PlacementGroup.objects.all(), placement_group_id)
    return _shown(response, placement_group_edit(group, name=body.name, actor=request.actor))


@router.delete("/placement-groups/{placement_group_id}", response={204: None}, summary="Delete a placement group")
def placement_group_remove(request: HttpRequest, placement_group_id: str) -> Status[None]:
    """Refused while a machine is in it, one in the bin too."""
    placement_group_delete(find(request, PlacementGroup.objects.all(), placement_group_id), actor=request.actor)
    return Status(204, None)
