"""Pages of machines, as tests open them."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from tenants.scoping import tenant_scope
from tests.factories import House
from vms.models import Guest

PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial"}


def url(house: House, name: str, *args: Any) -> str:
    return reverse(f"vms:{name}", args=[house.tenant.slug, *args])


def guests(house: House) -> list[Guest]:
    with tenant_scope(house.tenant):
        return list(Guest.objects.order_by("name"))
