"""Members, tokens and a tenant's suspension."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from operations.models import Operation
from portal.core.clock import now
from portal.core.errors import Conflict, Forbidden, Invalid
from tenants.access import actor_for_token
from tenants.models import ApiToken, Member, Role
from tenants.policy import BUILT_IN_ROLES, Permission
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.members import member_add, member_remove, member_set_role
from tenants.services.roles import role_named
from tenants.services.tenants import tenant_create, tenant_suspend
from tenants.services.tokens import Scope, token_create, token_revoke
from tests import factories
from vms.states import Power

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> Iterator[factories.House]:
    made = factories.tenant_with_owner()
    with tenant_scope(made.tenant):
        yield made


def member_of(house: factories.House) -> Member:
    return Member.objects.get(user=house.owner)


# --- tokens ---------------------------------------------------------------------------------------------------------
def test_only_the_hash_of_a_token_is_kept(house: factories.House) -> None:
    row, raw = token_create(house.owner, name="ci", tenant=house.tenant, actor=house.actor)

    row.refresh_from_db()
    columns = {str(value) for value in ApiToken.objects.filter(pk=row.pk).values().get().values()}
    assert row.digest == hashlib.sha256(raw.encode()).hexdigest()
    assert not any(raw in column or raw[len(row.prefix) + 1 :] in column for column in columns)
    assert raw.startswith(row.prefix)
    assert len(raw.split("_", 2)[2]) >= 43, "256 bits"


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"name": " "}, "invalid_name"),
        ({"name": "x" * 65}, "invalid_name"),
        ({"permissions": ["guest.fly"]}, "unknown_permission"),
        ({"expires_at": now() - timedelta(seconds=1)}, "in_the_past"),
    ],
    ids=["no name", "long name", "unknown permission", "over already"],
)
def test_a_token_that_makes_no_sense_is_refused_at_its_field(
    house: factories.House, wish: dict[str, Any], code: str
) -> None:
    name, scope = wish.get("name", "ci"), Scope(**{key: value for key, value in wish.items() if key != "name"})

    with pytest.raises(Invalid) as refusal:
        token_create(house.owner, tenant=house.tenant, actor=house.actor, name=name, scope=scope)
    assert [error.code for error in refusal.value.errors] == [code]
    assert not ApiToken.objects.filter(tenant=house.tenant).exists()


def test_a_token_gets_no_more_than_its_maker_may(house: factories.House) -> None:
    admin, _token = factories.member_with(house.tenant, BUILT_IN_ROLES["admin"])
    actor = factories.actor_in(house.tenant, admin)

    with pytest.raises(Forbidden):
        token_create(admin, name="up", tenant=house.tenant, scope=Scope(["owner.manage"]), actor=actor)
    with pytest.raises(Forbidden):
        token_create(admin, name="up", tenant=house.tenant, scope=Scope(["operate"]), actor=actor)
    with pytest.raises(Forbidden):
        token_create(house.owner, name="theirs", tenant=house.tenant, actor=actor)
    with pytest.raises(Forbidden):
        token_create(admin, name="everywhere", tenant=None, actor=actor)


def test_a_revoked_token_is_dead_at_once_and_its_consoles_are_told(
    house: factories.House, revoked: list[dict[str, Any]]
) -> None:
    row, raw = token_create(house.owner, name="ci", tenant=house.tenant, actor=house.actor)

    token_revoke(row, actor=house.actor)
    token_revoke(row, actor=house.actor)

    assert actor_for_token(raw, house.tenant) is None
    assert [said["session"] for said in revoked] == [f"token:{row.pk}"]


def test_tokens_have_a_cap(house: factories.House, settings: Any) -> None:
    settings.CAPS = {**settings.CAPS, "tokens": 2}
    for name in ("a", "b"):
        token_create(house.owner, name=name, tenant=house.tenant, actor=house.actor)

    with pytest.raises(Conflict) as refusal:
        token_create(house.owner, name="c", tenant=house.tenant, actor=house.actor)
    assert refusal.value.code == "too_many_tokens"


# --- members --------------------------------------------------------------------------------------------------------
def test_the_last_owner_can_neither_leave_nor_step_down(house: factories.House) -> None:
    with pytest.raises(Conflict) as leaving:
        member_remove(member_of(house), actor=house.actor)
    with pytest.raises(Conflict) as demoted:
        member_set_role(member_of(house), role=role_named("admin"), actor=house.actor)
    assert leaving.value.code == demoted.value.code == "last_owner"

    second = factories.user()
    factories.join(house.tenant, second, role="owner")
    member_remove(member_of(house), actor=house.actor)
    assert list(Member.objects.values_list("user", flat=True)) == [second.pk]


def test_nobody_hands_out_more_than_they_hold(house: factories.House) -> None:
    admin, _token = factories.member_with(house.tenant, BUILT_IN_ROLES["admin"])
    helper, _token = factories.member_with(house.tenant, {Permission.MEMBER_MANAGE, Permission.GUEST_VIEW})
    person, _token = factories.member_with(house.tenant, [])
    theirs = Member.objects.get(user=person)

    with pytest.raises(Forbidden):
        member_set_role(theirs, role=role_named("owner"), actor=factories.actor_in(house.tenant, admin))
    with pytest.raises(Forbidden) as beyond:
        member_set_role(theirs, role=role_named("viewer"), actor=factories.actor_in(house.tenant, helper))
    with pytest.raises(Forbidden):
        member_add(house.tenant, factories.user(), role=role_named("viewer"), actor=house.actor)
    assert beyond.value.code == "beyond_own_role"
    with pytest.raises(Forbidden):
        member_set_role(member_of(house), role=role_named("viewer"), actor=factories.actor_in(house.tenant, admin))
    with pytest.raises(Forbidden):
        member_remove(member_of(house), actor=factories.actor_in(house.tenant, admin))


def test_a_changed_role_and_an_ended_membership_are_told_to_open_pages(
    house: factories.House, revoked: list[dict[str, Any]]
) -> None:
    person = factories.user()
    factories.join(house.tenant, person, role="member")
    member = Member.objects.get(user=person)

    member_set_role(member, role=role_named("viewer"), actor=house.actor)
    member_remove(member, actor=house.actor)

    assert [(said["user"], said["tenant"]) for said in revoked] == [(person, house.tenant)] * 2


def test_a_member_may_leave_but_their_token_cannot_leave_for_them(house: factories.House) -> None:
    person, raw = factories.member_with(house.tenant, BUILT_IN_ROLES["viewer"])
    by_token = actor_for_token(raw, house.tenant)
    assert by_token is not None

    with pytest.raises(Forbidden):
        member_remove(Member.objects.get(user=person), actor=by_token)
    member_remove(Member.objects.get(user=person), actor=factories.actor_in(house.tenant, person))
    assert not Member.objects.filter(user=person).exists()


def test_a_person_joins_once(house: factories.House) -> None:
    with pytest.raises(Conflict) as refusal:
        factories.join(house.tenant, house.owner, role="viewer")
    assert refusal.value.code == "already_member"


def test_a_role_of_another_tenant_does_not_exist_here(house: factories.House) -> None:
    other = factories.tenant_with_owner()
    with every_tenant(why="test"):
        Role.objects.create(tenant=other.tenant, name="theirs", permissions=[])

    with pytest.raises(Invalid):
        role_named("theirs")


# --- suspension -----------------------------------------------------------------------------------------------------
def test_suspension_stops_machines_and_ends_access_in_one_transaction(revoked: list[dict[str, Any]]) -> None:
    house, other = factories.tenant_with_owner(), factories.tenant_with_owner()
    running = factories.guest(house)
    paused = factories.guest(house, power=Power.PAUSED)
    stopped = factories.guest(house, power=Power.STOPPED)
    foreign = factories.guest(other)

    tenant = tenant_suspend(house.tenant, reason="unpaid", actor=factories.desk())
    tenant_suspend(tenant, reason="again", actor=factories.desk())

    asked = dict(Operation.objects.filter(status="queued").values_list("subject_id", "kind"))
    assert asked == {running.pk: "guest.shutdown", paused.pk: "guest.stop"}
    assert stopped.pk not in asked
    assert foreign.pk not in asked
    assert [said["tenant"] for said in revoked] == [tenant]


@pytest.mark.parametrize("slug", ["", "-a", "a-", "A", "a_b", "a" * 41, "api", "operator", "a\n", "ä"], ids=repr)
def test_a_tenant_with_a_bad_short_name_is_not_made(slug: str) -> None:
    with pytest.raises(Invalid):
        tenant_create(slug=slug, name="x", actor=factories.desk())
