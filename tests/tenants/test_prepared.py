"""Queries that are put together once answer like those that are put together each time, and for one scope only."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet, UUIDField
from django.test.utils import CaptureQueriesContext

from portal.core.ids import uuid7
from tenants.models import Member, Role
from tenants.prepared import Given, columns_of, prepared
from tenants.scoping import UnscopedQuery, every_tenant, tenant_scope
from tests import factories

pytestmark = pytest.mark.django_db


@prepared
def members(role: str) -> QuerySet[Any, tuple[Any, ...]]:
    rows = Member.objects.filter(role__name=role, user__pk__among=Given("users", UUIDField(), many=True))
    return rows.order_by("pk").values_list("user", "created_at", "role__permissions")


def test_rows_come_as_python_knows_them() -> None:
    house = factories.tenant_with_owner()

    with tenant_scope(house.tenant):
        rows = members("owner", users=[house.owner.pk, uuid7()])

        expected = Member.objects.values_list("user", "created_at", "role__permissions")
        assert rows == [tuple(row) for row in expected]


def test_none_of_many_finds_nothing() -> None:
    house = factories.tenant_with_owner()

    with tenant_scope(house.tenant):
        assert members("owner", users=[]) == []
        assert members("viewer", users=[house.owner.pk]) == []


def test_what_was_kept_for_one_scope_serves_no_other() -> None:
    ours, theirs = factories.tenant_with_owner(), factories.tenant_with_owner()
    both = [ours.owner.pk, theirs.owner.pk]

    with tenant_scope(ours.tenant):
        mine = members("owner", users=both)
    with tenant_scope(theirs.tenant):
        others = members("owner", users=both)
    with every_tenant(why="a test"):
        everybody = members("owner", users=both)

    assert [row[0] for row in mine] == [ours.owner.pk]
    assert [row[0] for row in others] == [theirs.owner.pk]
    assert {row[0] for row in everybody} == set(both)
    with pytest.raises(UnscopedQuery):
        members("owner", users=both)


def test_a_second_asking_is_one_query_and_sees_what_has_changed() -> None:
    house = factories.tenant_with_owner()
    person = factories.user()

    with tenant_scope(house.tenant):
        assert members("viewer", users=[person.pk]) == []
        factories.join(house.tenant, person, role="viewer")
        with CaptureQueriesContext(connection) as queries:
            assert [row[0] for row in members("viewer", users=[person.pk])] == [person.pk]

    assert len(queries) == 1


def test_a_value_that_is_not_given_is_an_error() -> None:
    house = factories.tenant_with_owner()

    with tenant_scope(house.tenant), pytest.raises(KeyError, match="users"):
        members("owner")


def test_columns_stand_in_the_order_of_the_model() -> None:
    assert columns_of(Role, "name", "id") == ("id", "name")
    with pytest.raises(ValueError, match="nme"):
        columns_of(Role, "nme")
