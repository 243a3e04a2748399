"""Invitations as tests send, read and answer them."""

from __future__ import annotations

import re
from datetime import timedelta

from django.urls import reverse

from tenants.actors import Actor
from tenants.models import Invitation, Letter
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.invitations import (
    InvitationOver,
    invitation_by_secret,
    invitation_send,
)
from tenants.services.roles import role_named
from tests.factories import House

BROWSER = Actor(None, None, frozenset(), "browser", address="192.0.2.1")


def invite(
    house: House, email: str = "mara@example.test", role: str = "viewer", actor: Actor | None = None
) -> Invitation:
    with tenant_scope(house.tenant):
        return invitation_send(house.tenant, email=email, role=role_named(role), actor=actor or house.actor)


def letter() -> Letter:
    return Letter.objects.order_by("-created_at", "-pk")[0]


def secret() -> str:
    """What the newest letter's link holds."""
    found = re.search(r"/account/invitation/([\w-]+)/", letter().body)
    assert found is not None
    return found[1]


def later(**by: float) -> None:
    """Let so much time pass for every invitation."""
    with every_tenant(why="test"):
        for row in Invitation.objects.all():
            row.sent_at -= timedelta(**by)
            row.expires_at -= timedelta(**by)
            row.revoked_at = row.revoked_at and row.revoked_at - timedelta(**by)
            row.save()


def link(of: str | None = None) -> str:
    return reverse("tenants:invitation", args=[of or secret()])


def no(of: str | None = None) -> str:
    return reverse("tenants:invitation_decline", args=[of or secret()])


def alive(of: str) -> bool:
    try:
        return bool(invitation_by_secret(of))
    except InvitationOver:
        return False
