"""REST: security groups, and which of them guard a port."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from operations.api import OperationOut, accepted
from portal.core.bodies import Body, Listed, Listing, listed, narrowed
from portal.core.errors import FieldError
from portal.core.etags import etag_of, find
from portal.core.ids import uuid_or_none
from portal.core.paging import Sorts
from tenants.api.tenants import tenant_in_path
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.networks import ports_visible
from vms.api.pick import find_held, pick_all, refuse
from vms.firewall import MAX_RULES
from vms.models import SecurityGroup
from vms.selectors.security_groups import groups_listed
from vms.services.guarding import port_guard
from vms.services.security_groups import group_create, group_delete, group_edit, group_rules_set, groups_lock
from vms.specs import MOST_ON_A_CARD

router = Router(tags=["networks"])
SORTS: Sorts = {"name": ("name", "id"), "created_at": ("created_at", "id")}


class RuleOut(BaseModel):
    """One thing that is allowed; without ports all of them, without `cidr` and `group` anybody."""

    direction: str
    protocol: str
    first_port: int | None
    last_port: int | None
    cidr: str
    group: str
    note: str


class GroupOut(BaseModel):
    """A security group. While `pending`, its rules are just being put in place."""

    id: str
    name: str
    note: str
    default: bool
    rules: list[RuleOut]
    pending: bool
    ports: int
    created_at: datetime


class RuleIn(Body):
    """One thing that is allowed. Answers to what was allowed pass by themselves."""

    direction: str = Field(max_length=8, description="`in` or `out`, seen from the machine")
    protocol: str = Field(default="any", max_length=8, description="`any`, `tcp`, `udp` or `icmp`")
    first_port: int | None = Field(default=None, description="Of who is called; TCP and UDP only")
    last_port: int | None = None
    cidr: str = Field(default="", max_length=43, description="An IPv4 range, `192.0.2.0/24`")
    group: str = Field(default="", max_length=40, description="The machines of a group, by its id; `self` for this one")
    note: str = Field(default="", max_length=100)


class GroupIn(Body):
    """A group to be made; what no rule allows is dropped."""

    name: str = Field(max_length=40)
    note: str = Field(default="", max_length=200)
    rules: list[RuleIn] = Field(default=[], max_length=MAX_RULES)


class GroupPatch(Body):
    """Other words for a group."""

    name: str | None = Field(default=None, max_length=40)
    note: str | None = Field(default=None, max_length=200)


class RulesIn(Body):
    """All rules of a group, in place of those it has."""

    rules: list[RuleIn] = Field(max_length=MAX_RULES)


class PortGroupsIn(Body):
    """All groups of a port, by id or name, in place of those it has."""

    security_groups: list[str] = Field(min_length=1, max_length=MOST_ON_A_CARD)


class GroupQuery(Listing):
    """Filters of security groups."""

    sort: str = Field(default="name", max_length=40, description="`name`, `created_at`, or one with `-`")
    name: str = Field(default="", max_length=40)


def group_out(group: SecurityGroup) -> GroupOut:
    """A group as JSON shows it."""
    return GroupOut(
        id=str(group.pk),
        name=group.name,
        note=group.note,
        default=group.is_default,
        rules=[RuleOut(**rule) for rule in group.rules],
        pending=group.rules != group.applied,
        ports=group.cards_count,  # type: ignore[attr-defined]
        created_at=group.created_at,
    )


def _shown(response: HttpResponse, group: SecurityGroup) -> GroupOut:
    response["ETag"] = etag_of(group)
    return group_out(groups_listed().get(pk=group.pk))


@router.get("/security-groups", response=Listed[GroupOut], summary="List security groups")
def group_list(request: HttpRequest, query: Query[GroupQuery]) -> dict[str, Any]:
    """What may reach machines, and what they may reach."""
    request.actor.require(Permission.NETWORK_VIEW)
    rows = narrowed(groups_listed(), name=query.name, name__icontains=query.q)
    return listed(request, query, rows, sorts=SORTS, out=group_out)


@router.post("/security-groups", response={201: GroupOut}, summary="Create a security group")
def group_post(request: HttpRequest, response: HttpResponse, body: GroupIn) -> Status[GroupOut]:
    """It guards nothing yet."""
    tenant = tenant_in_path(request)
    rules = [rule.model_dump() for rule in body.rules]
    group = group_create(tenant, name=body.name, note=body.note, rules=rules, actor=request.actor)
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/security-groups/{group.pk}"
    return Status(201, _shown(response, group))


@router.get("/security-groups/{group_id}", response=GroupOut, summary="Get a security group")
def group_get(request: HttpRequest, group_id: str, response: HttpResponse) -> GroupOut:
    """One security group."""
    request.actor.require(Permission.NETWORK_VIEW)
    return _shown(response, find(request, SecurityGroup.objects.all(), group_id))


@router.patch("/security-groups/{group_id}", response=GroupOut, summary="Change a security group's name or note")
def group_patch(request: HttpRequest, group_id: str, response: HttpResponse, body: GroupPatch) -> GroupOut:
    """Its rules are changed by `PUT` of `rules`."""
    group = find(request, SecurityGroup.objects.all(), group_id)
    return _shown(response, group_edit(group, actor=request.actor, name=body.name, note=body.note))


@router.put(
    "/security-groups/{group_id}/rules",
    response={202: OperationOut},
    exclude_unset=True,
    summary="Put other rules in place",
)
def group_rules(request: HttpRequest, group_id: str, response: HttpResponse, body: RulesIn) -> Status[OperationOut]:
    """On every machine that the group guards, or, where one cannot have them, on none."""
    rules = [rule.model_dump() for rule in body.rules]
    if "If-Match" in request.headers:  # those that they name, in the order in which services lock them
        named = (uuid_or_none(text) for text in (group_id, *(str(rule["group"] or "") for rule in rules)))
        groups_lock(pk for pk in named if pk is not None)
    group = find(request, SecurityGroup.objects.all(), group_id)
    operation = group_rules_set(group, rules, actor=request.actor)
    return accepted(request, response, operation)


@router.delete("/security-groups/{group_id}", response={204: None}, summary="Delete a security group")
def group_remove(request: HttpRequest, group_id: str) -> Status[None]:
    """Refused while it guards a machine, or a rule of another group speaks of it."""
    group_delete(find(request, SecurityGroup.objects.all(), group_id), actor=request.actor)
    return Status(204, None)


@router.put(
    "/ports/{port_id}/security-groups",
    response={202: OperationOut},
    exclude_unset=True,
    summary="Guard a port by other security groups",
)
def port_groups(request: HttpRequest, port_id: str, response: HttpResponse, body: PortGroupsIn) -> Status[OperationOut]:
    """At once where its machine runs."""
    port = find_held(request, ports_visible(request), port_id)
    errors: list[FieldError] = []
    groups = pick_all(SecurityGroup.objects.all(), body.security_groups, "/security_groups", errors)
    refuse(errors)
    return accepted(request, response, port_guard(port, groups, actor=request.actor))
