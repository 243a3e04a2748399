"""The machine that an address names, or the same 404 for what is absent, foreign, or out of the role's reach."""

from __future__ import annotations

from uuid import UUID

from django.shortcuts import get_object_or_404

from tenants.models import Tenant
from tenants.types import HttpRequest
from vms.models import Guest
from vms.selectors.guests import guest_row, guests_visible
from vms.views.shapes import GuestShown, guest_shown


def guest_or_404(request: HttpRequest, guest_id: UUID) -> Guest:
    """One machine the caller may look at."""
    guest: Guest = get_object_or_404(guests_visible(request.actor), pk=guest_id)
    return guest


def guest_now(request: HttpRequest, guest: Guest, *, sparks: bool = False) -> GuestShown:
    """The machine as it stands after whatever has just been done to it; ``sparks`` for a row of a list."""
    return guest_shown(guest_row(guest, sparks=sparks), request.actor)


def tenant_of(request: HttpRequest) -> Tenant:
    """The tenant of the page, which the middleware has found."""
    assert request.actor.tenant is not None
    return request.actor.tenant
