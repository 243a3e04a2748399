"""Outside a scope a tenant's rows do not exist; inside, only its own do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import Model
from django.shortcuts import get_object_or_404

from tenants.models import Member, Role, Tenant
from tenants.scoping import UnscopedQuery, current_scope, every_tenant, tenant_scope
from tests import factories
from tests.support.crowd import together
from vms.models import Guest, Image, Network, Tag

pytestmark = pytest.mark.django_db


@pytest.fixture
def houses() -> tuple[factories.House, factories.House]:
    return factories.tenant_with_owner(), factories.tenant_with_owner()


@pytest.mark.parametrize(
    "read",
    [
        lambda: list(Guest.objects.all()),
        lambda: Guest.objects.exists(),
        lambda: Guest.objects.filter(name="x").count(),
        lambda: get_object_or_404(Guest, name="x"),
        lambda: Guest.objects.create(name="x"),
        lambda: Image.objects.first(),
        lambda: Role.objects.get(name="owner"),
        lambda: Member.objects.update(version=9),
    ],
    ids=["all", "exists", "count", "get_or_404", "create", "shared rows", "roles", "update"],
)
def test_outside_a_scope_everything_raises(read: Callable[[], Any]) -> None:
    assert current_scope() is None

    with pytest.raises(UnscopedQuery):
        read()


def test_reverse_relations_of_shared_rows_raise_outside_and_narrow_inside(
    houses: tuple[factories.House, factories.House],
) -> None:
    mine, theirs = (factories.guest(house) for house in houses)
    host = mine.host
    assert host is not None
    assert host == theirs.host

    with pytest.raises(UnscopedQuery):
        list(host.guests.all())
    with tenant_scope(houses[0].tenant):
        assert list(host.guests.all()) == [mine]
    with every_tenant(why="test"):
        assert set(host.guests.all()) == {mine, theirs}


def test_a_row_cannot_be_saved_outside_or_under_another_tenant(houses: tuple[factories.House, factories.House]) -> None:
    network = factories.network(houses[0])

    with pytest.raises(UnscopedQuery):
        network.save()
    with tenant_scope(houses[1].tenant), pytest.raises(UnscopedQuery):
        network.save()
    with tenant_scope(houses[1].tenant), pytest.raises(UnscopedQuery):
        Tag.objects.create(tenant=houses[0].tenant, name="planted")
    with tenant_scope(houses[0].tenant):
        network.save()
        assert not Tag.objects.exists()


def test_the_same_name_may_be_used_by_two_tenants(houses: tuple[factories.House, factories.House]) -> None:
    for house in houses:
        factories.network(house, "office")

    with tenant_scope(houses[0].tenant):
        assert Network.objects.filter(name="office").count() == 1


def test_shared_rows_are_everybodys_and_own_ones_only_the_owners(
    houses: tuple[factories.House, factories.House],
) -> None:
    public = factories.image("public")
    with every_tenant(why="test"):
        own = Image.objects.create(name="own", tenant=houses[0].tenant)

    with tenant_scope(houses[0].tenant):
        assert set(Image.objects.all()) == {public, own}
    with tenant_scope(houses[1].tenant):
        assert set(Image.objects.all()) == {public}


def test_a_scope_ends_with_its_block_however_it_is_left(houses: tuple[factories.House, factories.House]) -> None:
    def break_off() -> None:
        with tenant_scope(houses[1].tenant):
            raise RuntimeError

    with tenant_scope(houses[0].tenant):
        with pytest.raises(RuntimeError):
            break_off()
        assert current_scope() == houses[0].tenant
    assert current_scope() is None


def test_seeing_every_tenant_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="reason"), every_tenant(why=""):
        pass


def test_what_one_reader_does_with_its_rows_is_not_seen_by_the_next(
    houses: tuple[factories.House, factories.House],
) -> None:
    factories.network(houses[0], "office")
    with tenant_scope(houses[0].tenant):
        rows = Network.objects.get_queryset()
        assert len(rows) == 1, "read, and kept by that reader alone"

        factories.network(houses[0], "lab")

        assert {network.name for network in Network.objects.get_queryset()} == {"office", "lab"}
        assert Network.objects.db_manager("default").count() == 2


@pytest.mark.django_db(transaction=True)
def test_interleaved_threads_never_see_each_others_rows() -> None:
    houses = [factories.tenant_with_owner() for _ in range(2)]
    for house in houses:
        for _ in range(3):
            factories.network(house)

    def look(tenant: Tenant) -> set[Any]:
        seen: set[Any] = set()
        for _ in range(10):
            with tenant_scope(tenant):
                seen |= set(Network.objects.values_list("tenant", flat=True))
            assert current_scope() is None
        return seen

    found = together([lambda t=houses[n % 2].tenant: look(t) for n in range(16)])

    assert found == [{houses[n % 2].tenant.pk} for n in range(16)]


def test_every_tenant_owned_model_is_read_through_a_scoped_manager() -> None:
    from django.apps import apps

    from tenants.scoping import SharedManager, TenantManager, TenantOwned

    def manager_is_scoped(model: type[Model]) -> bool:
        return isinstance(model._default_manager, TenantManager | SharedManager)

    owned = [model for model in apps.get_models() if issubclass(model, TenantOwned)]

    assert len(owned) >= 10
    assert [model.__name__ for model in owned if not manager_is_scoped(model)] == []
