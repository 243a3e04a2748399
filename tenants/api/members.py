"""REST: members of a tenant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from portal.core.bodies import Body, Listed, Listing, listed
from portal.core.errors import FieldError, Invalid
from portal.core.etags import CHANGES, etag_of, find
from tenants.api.people import PersonOut, person_out
from tenants.api.tenants import tenant_in_path
from tenants.listings import MEMBER_SORTS, members
from tenants.models import Member, User
from tenants.policy import Permission
from tenants.services.members import member_add, member_remove, member_set_role, ownership_transfer, people_lock
from tenants.services.roles import role_named
from tenants.types import HttpRequest

router = Router(tags=["people and tokens"])


class MemberOut(BaseModel):
    """A person in this project."""

    id: str
    user: PersonOut
    role: str
    created_at: datetime


class MemberQuery(Listing):
    """Filters of members."""

    sort: str = Field(default="created_at", max_length=40, description="`created_at`, `-created_at`")
    role: str = Field(default="", max_length=40)
    email: str = Field(default="", max_length=254)


class MemberIn(Body):
    """Somebody who can sign in already, and their role here."""

    email: str = Field(max_length=254)
    role: str = Field(max_length=40)


class MemberPatch(Body):
    """Another role."""

    role: str = Field(max_length=40)


def member_out(member: Member) -> MemberOut:
    """A member as JSON shows it."""
    return MemberOut(
        id=str(member.pk), user=person_out(member.user), role=member.role.name, created_at=member.created_at
    )


def _shown(response: HttpResponse, member: Member) -> MemberOut:
    response["ETag"] = etag_of(member)
    return member_out(member)


def _member(request: HttpRequest, member_id: str) -> Member:
    tenant = tenant_in_path(request)
    if request.method in CHANGES:
        people_lock(tenant)
    return find(request, members(tenant), member_id)


@router.get("/members", response=Listed[MemberOut], summary="List members")
def member_list(request: HttpRequest, query: Query[MemberQuery]) -> dict[str, Any]:
    """Who belongs to this project."""
    request.actor.require(Permission.MEMBER_VIEW)
    rows = members(tenant_in_path(request))
    if query.role:
        rows = rows.filter(role__name=query.role)
    if query.email:
        rows = rows.filter(user__email__iexact=query.email)
    if query.q:
        rows = rows.filter(user__email__icontains=query.q) | rows.filter(user__name__icontains=query.q)
    return listed(request, query, rows, sorts=MEMBER_SORTS, out=member_out)


@router.post("/members", response={201: MemberOut}, summary="Add a member (operators)")
def member_post(request: HttpRequest, response: HttpResponse, body: MemberIn) -> Status[MemberOut]:
    """Let somebody in who can sign in already, without asking them; a project's own people send an invitation."""
    request.actor.require(Permission.OPERATE)
    user = User.objects.filter(email__iexact=body.email.strip(), is_active=True).first()
    if user is None:
        raise Invalid(errors=[FieldError("/email", "unknown", _("Nobody with this address can sign in."))])
    tenant = tenant_in_path(request)
    member = member_add(tenant, user, role=role_named(body.role), actor=request.actor)
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/members/{member.pk}"
    return Status(201, _shown(response, member))


@router.get("/members/{member_id}", response=MemberOut, summary="Get a member")
def member_get(request: HttpRequest, member_id: str, response: HttpResponse) -> MemberOut:
    """One person in this project."""
    request.actor.require(Permission.MEMBER_VIEW)
    return _shown(response, _member(request, member_id))


@router.patch("/members/{member_id}", response=MemberOut, summary="Give a member another role")
def member_patch(request: HttpRequest, member_id: str, response: HttpResponse, body: MemberPatch) -> MemberOut:
    """What they have open is checked again at once; the last owner stays one."""
    member = _member(request, member_id)
    request.actor.require(Permission.MEMBER_MANAGE)
    return _shown(response, member_set_role(member, role=role_named(body.role), actor=request.actor))


@router.delete("/members/{member_id}", response={204: None}, summary="Remove a member")
def member_delete(request: HttpRequest, member_id: str) -> Status[None]:
    """Their sessions in this project and open consoles close at once."""
    member_remove(_member(request, member_id), actor=request.actor)
    return Status(204, None)


@router.post("/members/{member_id}/transfer", response=MemberOut, summary="Hand the project over")
def member_transfer_post(request: HttpRequest, member_id: str, response: HttpResponse) -> MemberOut:
    """They become an owner and you an admin, in one step. Only for owners."""
    request.actor.require(Permission.OWNER_MANAGE)
    return _shown(response, ownership_transfer(_member(request, member_id), actor=request.actor))
