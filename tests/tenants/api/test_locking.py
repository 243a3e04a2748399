"""What a guarded change of a tenant keeps others from doing: the same change, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, transaction

from tenants.api.tenants import own_tenant
from tenants.scoping import tenant_scope
from tests import factories
from tests.support.crowd import together
from vms.models import Tag

pytestmark = pytest.mark.django_db(transaction=True)


def test_renaming_a_tenant_hinders_nobody_who_makes_things_in_it() -> None:
    """A row that refers to the tenant needs a share of its key; only a lock that spares the key leaves that free."""
    house = factories.tenant_with_owner("acme")
    renaming: Any = SimpleNamespace(method="PATCH", headers={"If-Match": "*"}, actor=house.actor)

    def make() -> Tag:
        with transaction.atomic(), tenant_scope(house.tenant):
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '1s'")
            return Tag.objects.create(tenant=house.tenant, name="web")

    with transaction.atomic():
        own_tenant(renaming)
        (made,) = together([make])

    assert isinstance(made, Tag), made
