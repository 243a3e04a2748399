"""REST: invitations of a tenant."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from portal.core.bodies import Body, Listed, Listing, listed
from portal.core.clock import now
from portal.core.etags import CHANGES, etag_of, find
from tenants.api.people import PersonOut, person_out
from tenants.api.tenants import tenant_in_path
from tenants.listings import INVITATION_SORTS, invitations
from tenants.models import Invitation
from tenants.policy import Permission
from tenants.services.invitations import invitation_resend, invitation_revoke, invitation_send
from tenants.services.members import people_lock
from tenants.services.roles import role_named
from tenants.types import HttpRequest

router = Router(tags=["people and tokens"])


class InvitationStatus(StrEnum):
    """Where an invitation stands."""

    OPEN = "open"
    EXPIRED = "expired"
    ACCEPTED = "accepted"
    REVOKED = "revoked"
    DECLINED = "declined"


class InvitationOut(BaseModel):
    """An address that was asked to join; the letter's link is in the letter alone."""

    id: str
    email: str
    role: str
    status: InvitationStatus
    invited_by: PersonOut | None
    accepted_by: PersonOut | None
    created_at: datetime
    sent_at: datetime
    expires_at: datetime


class InvitationQuery(Listing):
    """Filters of invitations."""

    sort: str = Field(default="-created_at", max_length=40, description="`created_at`, `-created_at`")
    status: InvitationStatus | None = None
    email: str = Field(default="", max_length=254)


class InvitationIn(Body):
    """Whom to ask, and the role they would have: no more than your own."""

    email: str = Field(max_length=254)
    role: str = Field(max_length=40)


def invitation_out(row: Invitation) -> InvitationOut:
    """An invitation as JSON shows it."""
    return InvitationOut(
        id=str(row.pk),
        email=row.email,
        role=row.role.name,
        status=_status(row),
        invited_by=person_out(row.invited_by) if row.invited_by is not None else None,
        accepted_by=person_out(row.accepted_by) if row.accepted_by is not None else None,
        created_at=row.created_at,
        sent_at=row.sent_at,
        expires_at=row.expires_at,
    )


def _status(row: Invitation) -> InvitationStatus:
    if row.accepted_at is not None:
        return InvitationStatus.ACCEPTED
    if row.revoked_at is not None:
        return InvitationStatus.DECLINED if row.declined else InvitationStatus.REVOKED
    return InvitationStatus.EXPIRED if row.expires_at <= now() else InvitationStatus.OPEN


def _invitation(request: HttpRequest, invitation_id: str) -> Invitation:
    tenant = tenant_in_path(request)
    if request.method in CHANGES:
        people_lock(tenant)
    return find(request, invitations(tenant), invitation_id)


def _shown(response: HttpResponse, row: Invitation) -> InvitationOut:
    response["ETag"] = etag_of(row)
    return invitation_out(row)


@router.get("/invitations", response=Listed[InvitationOut], summary="List invitations")
def invitation_list(request: HttpRequest, query: Query[InvitationQuery]) -> dict[str, Any]:
    """Who has been asked to join, and what became of it; those that ended stay for 90 days."""
    request.actor.require(Permission.MEMBER_VIEW)
    rows = invitations(tenant_in_path(request), state=query.status or "")
    if query.email:
        rows = rows.filter(email__iexact=query.email)
    if query.q:
        rows = rows.filter(email__icontains=query.q)
    return listed(request, query, rows, sorts=INVITATION_SORTS, out=invitation_out)


@router.post("/invitations", response={201: InvitationOut}, summary="Invite somebody")
def invitation_post(request: HttpRequest, response: HttpResponse, body: InvitationIn) -> Status[InvitationOut]:
    """Sends a letter with a link that works once, for 7 days. The answer is the same whether or not they have an account."""
    request.actor.require(Permission.MEMBER_MANAGE)
    tenant = tenant_in_path(request)
    row = invitation_send(tenant, email=body.email, role=role_named(body.role), actor=request.actor)
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/invitations/{row.pk}"
    return Status(201, _shown(response, row))


@router.get("/invitations/{invitation_id}", response=InvitationOut, summary="Get an invitation")
def invitation_get(request: HttpRequest, invitation_id: str, response: HttpResponse) -> InvitationOut:
    """Whom, as what, and what became of it."""
    request.actor.require(Permission.MEMBER_VIEW)
    return _shown(response, _invitation(request, invitation_id))


@router.post("/invitations/{invitation_id}/resend", response=InvitationOut, summary="Send an invitation again")
def invitation_resend_post(request: HttpRequest, invitation_id: str, response: HttpResponse) -> InvitationOut:
    """A new letter with a new link, for another 7 days; the old link is dead. Not sooner than 5 minutes after the last."""
    row = _invitation(request, invitation_id)
    return _shown(response, invitation_resend(row, actor=request.actor))


@router.delete("/invitations/{invitation_id}", response={204: None}, summary="Revoke an invitation")
def invitation_delete(request: HttpRequest, invitation_id: str) -> Status[None]:
    """The link is dead at once."""
    invitation_revoke(_invitation(request, invitation_id), actor=request.actor)
    return Status(204, None)
