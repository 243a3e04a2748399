"""Who may do what: each built-in role, tags, suspension, operators, tokens."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from portal.core.clock import now
from portal.core.errors import Forbidden
from tenants.access import actor_for_token, actor_for_user, tenant_by_slug
from tenants.actors import LEFT, cut, role_reach, system_actor
from tenants.models import Role, Tenant, TenantState
from tenants.policy import ALL_TENANT_PERMISSIONS, BUILT_IN_ROLES, READ_ONLY, Permission
from tenants.scoping import tenant_scope
from tenants.services.members import member_add
from tenants.services.tenants import tenant_create, tenant_suspend, tenant_unsuspend
from tenants.services.tokens import Scope, token_create
from tests import factories
from vms.models import Guest

pytestmark = pytest.mark.django_db
P = Permission

ROLES = {
    "owner": ALL_TENANT_PERMISSIONS,
    "admin": ALL_TENANT_PERMISSIONS - {P.OWNER_MANAGE, P.TENANT_CLOSE},
    "member": {
        P.GUEST_VIEW, P.GUEST_CREATE, P.GUEST_POWER, P.GUEST_EDIT, P.GUEST_DELETE, P.GUEST_CONSOLE, P.IMAGE_VIEW,
        P.IMAGE_MANAGE, P.VOLUME_VIEW, P.VOLUME_MANAGE, P.SNAPSHOT_VIEW, P.SNAPSHOT_MANAGE, P.BACKUP_VIEW, P.BACKUP_MANAGE,
        P.NETWORK_VIEW, P.PLACEMENT_VIEW, P.PLACEMENT_MANAGE, P.KEY_VIEW, P.KEY_MANAGE, P.OPERATION_VIEW,
        P.OPERATION_CANCEL,
        P.EVENT_VIEW, P.MEMBER_VIEW, P.QUOTA_VIEW, P.TENANT_VIEW, P.TOKEN_VIEW, P.TOKEN_OWN,
    },
    "viewer": {
        P.GUEST_VIEW, P.IMAGE_VIEW, P.VOLUME_VIEW, P.SNAPSHOT_VIEW, P.BACKUP_VIEW, P.NETWORK_VIEW, P.PLACEMENT_VIEW, P.KEY_VIEW,
        P.OPERATION_VIEW, P.EVENT_VIEW,
        P.MEMBER_VIEW, P.QUOTA_VIEW, P.TENANT_VIEW, P.TOKEN_VIEW, P.TOKEN_OWN,
    },
    "billing": {P.TENANT_VIEW, P.USAGE_VIEW, P.TOKEN_VIEW, P.TOKEN_OWN},
}  # fmt: skip
"""Written out once more, so that a permission that slips into a role is seen."""


@pytest.mark.parametrize("name", BUILT_IN_ROLES)
def test_a_role_allows_what_its_row_says_and_nothing_else(name: str) -> None:
    tenant, person = factories.tenant_with_owner().tenant, factories.user()
    factories.join(tenant, person, role=name)

    actor = factories.actor_in(tenant, person)

    assert actor.permissions == ROLES[name]
    for permission in Permission:
        assert actor.may(permission) == (permission in ROLES[name])
    assert not actor.is_operator


def test_nobody_but_members_and_operators_becomes_an_actor() -> None:
    tenant, stranger = factories.tenant_with_owner().tenant, factories.user()
    operator, _token = factories.operator()

    assert actor_for_user(stranger, tenant, via="test") is None
    desk = actor_for_user(operator, tenant, via="test")
    assert desk is not None
    assert desk.permissions == frozenset(Permission)


def test_somebody_switched_off_becomes_nobody() -> None:
    house = factories.tenant_with_owner()
    house.owner.is_active = False
    house.owner.save()

    assert actor_for_user(house.owner, house.tenant, via="test") is None
    assert actor_for_token(house.token, house.tenant) is None


def test_a_subject_of_another_tenant_is_never_allowed() -> None:
    mine, theirs = factories.tenant_with_owner(), factories.tenant_with_owner()
    foreign = factories.network(theirs)

    assert not mine.actor.may(P.NETWORK_MANAGE, foreign)
    with pytest.raises(Forbidden):
        mine.actor.require(P.NETWORK_MANAGE, foreign)


def test_tags_of_a_role_narrow_what_it_may_touch_and_see() -> None:
    house = factories.tenant_with_owner()
    web, db = (factories.guest(house, name, tags=[name]) for name in ("web", "db"))
    person, _token = factories.member_with(house.tenant, {P.GUEST_POWER, P.GUEST_VIEW}, tags=["web", "lab"])
    actor = factories.actor_in(house.tenant, person)

    with tenant_scope(house.tenant):
        assert actor.may(P.GUEST_POWER, web)
        assert not actor.may(P.GUEST_POWER, db)
        assert list(actor.visible(Guest.objects.all())) == [web]
        assert set(house.actor.visible(Guest.objects.all())) == {web, db}


def test_people_of_a_suspended_tenant_may_look_and_are_told_why_not_more() -> None:
    house = factories.tenant_with_owner()
    tenant = tenant_suspend(house.tenant, reason="unpaid", actor=factories.desk())

    actor = factories.actor_in(tenant, house.owner)

    assert actor.permissions == ALL_TENANT_PERMISSIONS & (READ_ONLY | {P.TENANT_EXPORT})
    with pytest.raises(Forbidden) as refusal:
        actor.require(P.GUEST_CREATE)
    assert refusal.value.code == "tenant_suspended"
    tenant = tenant_unsuspend(tenant, actor=factories.desk())
    assert factories.actor_in(tenant, house.owner).may(P.GUEST_CREATE)


def test_a_closed_tenant_lets_nobody_in_by_its_slug() -> None:
    from tenants.access import tenant_by_slug

    house = factories.tenant_with_owner()
    house.tenant.state = TenantState.CLOSED
    house.tenant.save()

    assert tenant_by_slug(house.tenant.slug) is None


def test_a_role_row_cannot_make_an_operator_or_invent_permissions() -> None:
    tenant = factories.tenant_with_owner().tenant

    permissions, tagged = role_reach(
        ["operate", "root", "guest.view"], ["operate", "member.manage", "guest.power", "guest.view"], ["qa"], tenant
    )

    assert permissions == {P.GUEST_VIEW, P.GUEST_POWER}
    assert tagged == {P.GUEST_POWER: (frozenset({"qa"}),)}


def test_tags_of_a_role_and_of_its_token_must_both_be_worn() -> None:
    house = factories.tenant_with_owner()
    both, one = factories.guest(house, tags=["qa", "blue"]), factories.guest(house, tags=["qa"])
    person, _token = factories.member_with(house.tenant, {P.GUEST_POWER, P.GUEST_VIEW}, tags=["qa"])
    actor = factories.actor_in(house.tenant, person)
    actor = replace(actor, tagged=cut(actor.tagged, ["blue", "green"]))

    with tenant_scope(house.tenant):
        assert actor.may(P.GUEST_POWER, both)
        assert not actor.may(P.GUEST_POWER, one)
        assert list(actor.visible(Guest.objects.all())) == [both]


def test_a_role_may_see_all_and_touch_what_wears_its_tag() -> None:
    house = factories.tenant_with_owner()
    web, db = (factories.guest(house, name, tags=[name]) for name in ("web", "db"))
    with tenant_scope(house.tenant):
        role = Role.objects.create(
            tenant=house.tenant, name="web", permissions=["guest.view"], tagged=["guest.power"], tags=["web"]
        )
        person = factories.user()
        member_add(house.tenant, person, role=role, actor=factories.desk())
        actor = factories.actor_in(house.tenant, person)

        assert set(actor.visible(Guest.objects.all())) == {web, db}
        assert actor.may(P.GUEST_POWER, web)
        assert not actor.may(P.GUEST_POWER, db)
        assert not actor.narrowed


def test_every_state_of_a_tenant_says_what_its_people_may_still_do() -> None:
    assert set(LEFT) == set(TenantState.values)


def test_a_token_of_a_tenant_opens_no_other_and_never_operates() -> None:
    mine, theirs = factories.tenant_with_owner(), factories.tenant_with_owner()
    operator, everywhere = factories.operator()
    factories.join(mine.tenant, operator, role="viewer")
    with tenant_scope(mine.tenant):
        _row, raw = token_create(
            operator, name="one", tenant=mine.tenant, actor=factories.actor_in(mine.tenant, operator)
        )

    assert actor_for_token(raw, theirs.tenant) is None
    inside, desk = actor_for_token(raw, mine.tenant), actor_for_token(raw, None)
    assert inside is not None
    assert desk is not None
    assert P.OPERATE not in inside.permissions
    assert not desk.permissions
    everywhere_actor = actor_for_token(everywhere, None)
    assert everywhere_actor is not None
    assert everywhere_actor.is_operator


def test_a_token_follows_its_owner_down_and_its_scopes_never_up() -> None:
    house = factories.tenant_with_owner()
    person, _token = factories.member_with(house.tenant, {P.GUEST_VIEW, P.GUEST_POWER, P.TOKEN_OWN})
    actor = factories.actor_in(house.tenant, person)
    with tenant_scope(house.tenant):
        _row, raw = token_create(
            person, name="ci", tenant=house.tenant, scope=Scope(["guest.view", "guest.power"]), actor=actor
        )
        role = Role.objects.get(tenant=house.tenant)

    def allowed() -> frozenset[Permission]:
        found = actor_for_token(raw, house.tenant)
        assert found is not None
        return found.permissions

    assert allowed() == {P.GUEST_VIEW, P.GUEST_POWER}
    role.permissions = ["guest.view", "guest.delete"]
    with tenant_scope(house.tenant):
        role.save()
    assert allowed() == {P.GUEST_VIEW}


def test_a_token_past_its_end_or_unknown_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    house = factories.tenant_with_owner()
    with tenant_scope(house.tenant):
        _row, raw = token_create(
            house.owner,
            name="short",
            tenant=house.tenant,
            scope=Scope(expires_at=now() + timedelta(hours=1)),
            actor=house.actor,
        )

    assert actor_for_token(raw, house.tenant) is not None
    assert actor_for_token(raw + "x", house.tenant) is None
    later = now() + timedelta(hours=1)
    monkeypatch.setattr("tenants.services.tokens.now", lambda: later)
    assert actor_for_token(raw, house.tenant) is None


def test_the_portal_itself_is_named_in_the_log() -> None:
    assert system_actor(None, why="sweep").label == "system"


def test_who_stands_above_a_tenant_is_read_with_it(django_assert_num_queries: Any) -> None:
    above = None
    for slug in ("root", "middle", "leaf"):
        above = tenant_create(slug=slug, name=slug, parent=above, actor=factories.desk())

    with django_assert_num_queries(1):
        leaf = tenant_by_slug("leaf")
        assert leaf is not None
        assert [tenant.slug for tenant in leaf.line()] == ["leaf", "middle", "root"]
        assert (leaf.standing, leaf.decider) == (TenantState.ACTIVE, leaf)
    Tenant.objects.filter(slug="leaf").update(state=TenantState.CLOSED)
    assert (tenant_by_slug("leaf"), tenant_by_slug("absent"), tenant_by_slug("' OR 1=1")) == (None, None, None)
