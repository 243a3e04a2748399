"""A tenant's life, as tests bring it about."""

from __future__ import annotations

from typing import Any

from operations.models import Operation
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.services.tenants import (
    tenant_close,
    tenant_create,
)
from tests import factories
from tests.factories import House

P = Permission
DESK = factories.desk


def child_of(parent: House, slug: str) -> House:
    tenant = tenant_create(slug=slug, name=slug, parent=parent.tenant, actor=DESK())
    person = factories.user()
    factories.join(tenant, person, role="owner")
    return House(tenant, person, factories.token_of(person))


def fresh(house: House) -> House:
    """The same with the tenant as the next request reads it."""
    return House(Tenant.objects.get(pk=house.tenant.pk), house.owner, house.token)


def queued(house: House) -> dict[Any, str]:
    rows = Operation.objects.filter(tenant=house.tenant, status="queued")
    return dict(rows.values_list("subject_id", "kind"))


def close(house: House, **asked: Any) -> Tenant:
    return tenant_close(house.tenant, confirm=house.tenant.slug, actor=asked.pop("actor", house.actor), **asked)
