"""REST: who had an address, and when."""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from ninja import Query, Router
from pydantic import BaseModel, Field

from portal.core.bodies import Listed, Listing, Moment, listed, narrowed, narrowed_to
from portal.core.paging import Sorts
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.models import AddressUse
from vms.selectors.guests import guests_visible

router = Router(tags=["networks"])
operators = Router(tags=["operators: networks"])
SORTS: Sorts = {"since": ("since", "id")}


class AddressUseOut(BaseModel):
    """A card had an address; `until` is null as long as it has it. Machine, card and network may be gone."""

    ip: str
    mac: str
    guest: str
    guest_name: str = Field(description="What it was called when it got the address.")
    port: str
    network: str
    network_name: str
    since: datetime
    until: datetime | None


class TenantAddressUseOut(AddressUseOut):
    """The same with the project."""

    tenant: str


class AddressUseQuery(Listing):
    """Filters of addresses."""

    sort: str = Field(default="-since", max_length=40, description="`since` or `-since`")
    q: str = Field(default="", max_length=100, description="Part of the machine's name.")
    ip: str = Field(default="", max_length=45)
    mac: str = Field(default="", max_length=17)
    guest: str = Field(default="", max_length=40)
    at: Moment | None = Field(default=None, description="Who had it at that moment.")


def _uses(rows: QuerySet[AddressUse], query: AddressUseQuery) -> QuerySet[AddressUse]:
    if query.ip and _plain(query.ip) is None:
        return rows.none()
    rows = narrowed(rows, ip=_plain(query.ip), mac=query.mac.lower(), guest_name__icontains=query.q)
    if query.at is not None:
        rows = rows.filter(Q(until=None) | Q(until__gt=query.at), since__lte=query.at)
    return narrowed_to(rows, guest_id=query.guest)


def _plain(text: str) -> str | None:
    """An address as the database writes it; None for what is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _facts(use: AddressUse) -> dict[str, Any]:
    return {
        "ip": use.ip,
        "mac": use.mac,
        "guest": str(use.guest_id),
        "guest_name": use.guest_name,
        "port": str(use.port_id),
        "network": str(use.network_id),
        "network_name": use.network_name,
        "since": use.since,
        "until": use.until,
    }


@router.get("/addresses", response=Listed[AddressUseOut], summary="List who had which address")
def address_list(request: HttpRequest, query: Query[AddressUseQuery]) -> dict[str, Any]:
    """Addresses of this project's machines, those of machines that are gone, too."""
    request.actor.require(Permission.NETWORK_VIEW)
    rows = AddressUse.objects.all()
    if request.actor.narrowed:
        rows = rows.filter(guest_id__in=guests_visible(request.actor).values("pk"))
    return listed(request, query, _uses(rows, query), sorts=SORTS, out=lambda use: AddressUseOut(**_facts(use)))


@operators.get("/addresses", response=Listed[TenantAddressUseOut], summary="List who had which address, of any project")
def address_list_of_all(request: HttpRequest, query: Query[AddressUseQuery]) -> dict[str, Any]:
    """With `ip` and `at`: the one machine that had it."""
    request.actor.require(Permission.OPERATE)
    rows = _uses(AddressUse.objects.select_related("tenant"), query)
    return listed(
        request, query, rows, sorts=SORTS, out=lambda use: TenantAddressUseOut(tenant=use.tenant.slug, **_facts(use))
    )
