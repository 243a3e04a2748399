"""P-G1, P-G2: quota is exact whoever asks at once, all or nothing, and never asks a host."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from portal.core.errors import Invalid, OverQuota
from tenants.models import Quota, Tenant
from tenants.scoping import tenant_scope
from tenants.services.quota import RESOURCES, quota_release, quota_reserve, quota_set
from tenants.services.tenants import tenant_create
from tests import factories
from tests.support.crowd import together
from vms.models import Guest, Host
from vms.services.guests import guest_create
from vms.specs import GuestSpec
from vms.states import HostState

CLIENTS, LIMIT, ROUNDS = 50, 10, 20


def used(tenant: Tenant) -> dict[str, int]:
    return dict(Quota.objects.filter(tenant=tenant).values_list("resource", "used"))


def reserve(tenant: Tenant, amounts: dict[str, int]) -> None:
    with tenant_scope(tenant), transaction.atomic():
        quota_reserve(tenant, amounts)


@pytest.mark.django_db(transaction=True)
def test_of_fifty_at_once_exactly_ten_are_let_in_twenty_times_over() -> None:
    tenant = factories.tenant_with_owner(limits={"guests": LIMIT, "vcpus": None, "memory_mib": None}).tenant

    for _ in range(ROUNDS):
        answers = together([lambda: reserve(tenant, {"guests": 1, "vcpus": 2, "memory_mib": 64})] * CLIENTS)

        refused = [answer for answer in answers if answer is not None]
        assert len(refused) == CLIENTS - LIMIT
        assert all(isinstance(answer, OverQuota) for answer in refused), set(map(repr, refused))
        assert used(tenant)["guests"] == LIMIT
        assert used(tenant)["vcpus"] == 2 * LIMIT
        with tenant_scope(tenant), transaction.atomic():
            quota_release(tenant, {"guests": LIMIT, "vcpus": 2 * LIMIT, "memory_mib": 64 * LIMIT})


@pytest.mark.django_db(transaction=True)
def test_of_twenty_machines_at_once_exactly_those_within_the_quota_are_made() -> None:
    house = factories.tenant_with_owner(limits={"guests": 5})
    factories.host_up()
    flavor, image = factories.flavor("small"), factories.image()

    def make(number: int) -> None:
        with tenant_scope(house.tenant):
            guest_create(house.tenant, GuestSpec(name=f"g{number}", flavor=flavor, image=image), actor=house.actor)

    answers = together([lambda n=n: make(n) for n in range(20)])

    assert [type(answer) for answer in answers if answer is not None] == [OverQuota] * 15
    with tenant_scope(house.tenant):
        assert Guest.objects.count() == 5
    assert used(house.tenant) | {"disk_gib": 5, "addresses": 5, "networks": 1} == used(house.tenant)


@pytest.mark.django_db(transaction=True)
def test_children_draw_on_their_parents_quota_and_never_past_it() -> None:
    parent = factories.tenant_with_owner(limits={"guests": 7}).tenant
    children = [
        tenant_create(slug=f"child-{n}", name="Child", parent=parent, actor=factories.desk(), limits={"guests": 5})
        for n in range(2)
    ]

    answers = together([lambda n=n: reserve(children[n % 2], {"guests": 1}) for n in range(20)])

    assert len([answer for answer in answers if answer is None]) == 7
    assert used(parent)["guests"] == 7
    assert sum(used(child)["guests"] for child in children) == 7
    assert all(used(child)["guests"] <= 5 for child in children)


@pytest.mark.django_db(transaction=True)
def test_reserving_and_releasing_at_once_never_deadlocks_and_ends_where_it_began() -> None:
    parent = factories.tenant_with_owner(limits={"guests": None, "vcpus": None}).tenant
    child = tenant_create(
        slug="a-child", name="C", parent=parent, actor=factories.desk(), limits={"guests": None, "vcpus": None}
    )

    def turn(tenant: Tenant) -> None:
        for _ in range(10):
            reserve(tenant, {"vcpus": 2, "guests": 1})
            with tenant_scope(tenant), transaction.atomic():
                quota_release(tenant, {"guests": 1, "vcpus": 2})

    assert together([lambda t=t: turn(t) for t in [parent, child] * 5]) == [None] * 10
    assert used(parent)["guests"] == used(child)["guests"] == 0


@pytest.mark.django_db
def test_one_refusal_names_every_resource_that_is_short_and_takes_nothing() -> None:
    tenant = factories.tenant_with_owner(limits={"guests": 1, "vcpus": 1, "memory_mib": 1024}).tenant

    with pytest.raises(OverQuota) as refusal:
        reserve(tenant, {"guests": 2, "vcpus": 4, "memory_mib": 512})

    assert {error.pointer for error in refusal.value.errors} == {"/quota/guests", "/quota/vcpus"}
    assert all(error.message for error in refusal.value.errors)
    assert set(used(tenant).values()) == {0}


@pytest.mark.django_db
def test_a_counter_cannot_fall_below_zero() -> None:
    tenant = factories.tenant_with_owner().tenant
    reserve(tenant, {"guests": 1})

    with pytest.raises(IntegrityError), tenant_scope(tenant), transaction.atomic():
        quota_release(tenant, {"guests": 2})
    assert used(tenant)["guests"] == 1


@pytest.mark.django_db
@pytest.mark.parametrize("amounts", [{"guests": -1}, {"moons": 1}], ids=["negative", "unknown"])
def test_nonsense_is_a_bug_and_not_an_answer(amounts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"unknown|positive"):
        reserve(factories.tenant_with_owner().tenant, amounts)


@pytest.mark.django_db
def test_a_limit_below_what_is_used_stops_new_things_only() -> None:
    tenant = factories.tenant_with_owner(limits={"guests": 5}).tenant
    reserve(tenant, {"guests": 4})

    with tenant_scope(tenant):
        quota_set(tenant, {"guests": 2}, actor=factories.desk())

    with pytest.raises(OverQuota):
        reserve(tenant, {"guests": 1})
    with tenant_scope(tenant):
        quota_release(tenant, {"guests": 3})
    reserve(tenant, {"guests": 1})
    assert used(tenant)["guests"] == 2
    with tenant_scope(tenant), pytest.raises(Invalid):
        quota_set(tenant, {"moons": 2}, actor=factories.desk())


@pytest.mark.django_db
def test_machines_of_a_silent_host_are_counted_all_the_same() -> None:
    house = factories.tenant_with_owner(limits={"guests": 1})
    factories.guest(house)
    Host.objects.update(state=HostState.DOWN)
    factories.host_up()

    with pytest.raises(OverQuota):
        factories.guest_building(house)


@pytest.mark.django_db
def test_a_tenant_without_rows_of_quota_gets_nothing(settings: Any) -> None:
    tenant = factories.tenant_with_owner().tenant
    Quota.objects.filter(tenant=tenant, resource="guests").delete()

    with pytest.raises(OverQuota) as refusal:
        reserve(tenant, {"guests": 1})
    assert refusal.value.code == "no_quota"
    assert set(settings.DEFAULT_QUOTA) == set(RESOURCES)
