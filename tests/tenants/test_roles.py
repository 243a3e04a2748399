"""Roles of a project's own: built from permissions, within the maker's reach, at once for everybody who has them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.core.errors import Conflict, Forbidden, Invalid, Missing
from tenants.models import AuditEntry, Role
from tenants.policy import ALL_TENANT_PERMISSIONS, Permission
from tenants.scoping import tenant_scope
from tenants.services.invitations import invitation_send
from tenants.services.members import member_add
from tenants.services.roles import Grants, role_create, role_delete, role_edit, role_named
from tenants.services.tokens import token_create
from tests import factories
from tests.portal.api.rest import Rest
from tests.support.crowd import meeting
from vms.states import Power

pytestmark = pytest.mark.django_db
P = Permission
QA = Grants(["guest.view", "tenant.view"], ["guest.power"], ["qa"])


@pytest.fixture
def house() -> factories.House:
    return factories.tenant_with_owner("acme")


def make(house: factories.House, name: str = "tester", grants: Grants = QA) -> Role:
    with tenant_scope(house.tenant):
        return role_create(house.tenant, name=name, grants=grants, actor=house.actor)


def test_may_start_and_stop_machines_tagged_qa(house: factories.House) -> None:
    qa, prod = (factories.guest(house, tags=[tag], power=Power.STOPPED) for tag in ("qa", "prod"))
    role, person = make(house), factories.user()
    with tenant_scope(house.tenant):
        member_add(house.tenant, person, role=role, actor=factories.desk())
    _row, raw = token_create(person, name="t", actor=factories.desk())
    rest = Rest(raw)

    assert len(rest.get(f"{house.url}/guests").json["items"]) == 2
    assert rest.post(f"{house.url}/guests/{qa.pk}/start", {}).status == 202
    assert rest.post(f"{house.url}/guests/{prod.pk}/start", {}).status == 403


def test_who_makes_machines_of_a_tag_makes_no_others_and_the_dry_run_says_so(house: factories.House) -> None:
    factories.host_up()
    flavor, image = factories.flavor("small"), factories.image("tiny")
    looks = {P.IMAGE_VIEW, P.NETWORK_VIEW, P.GUEST_CREATE}
    _person, raw = factories.member_with(house.tenant, looks, tags=["qa"])
    rest, url = Rest(raw), f"{house.url}/guests"
    body = {"name": "web", "flavor": str(flavor.pk), "image": str(image.pk)}

    for tags in ([], ["prod"]):
        foreseen, made = (
            rest.post(f"{url}?dry_run=true", {**body, "tags": tags}),
            rest.post(url, {**body, "tags": tags}),
        )
        assert (foreseen.json["fits"], [reason["code"] for reason in foreseen.json["reasons"]]) == (
            False,
            ["own_reach"],
        )
        assert (made.status, made.json["errors"][0]["code"]) == (422, "own_reach")
    assert rest.post(f"{url}?dry_run=true", {**body, "tags": ["qa"]}).json["fits"]
    assert rest.post(url, {**body, "tags": ["qa"]}).status == 202


def test_nobody_tags_a_machine_into_their_own_reach(house: factories.House) -> None:
    prod, qa = (factories.guest(house, tags=[tag], power=Power.STOPPED) for tag in ("prod", "qa"))
    role = make(house, grants=Grants(["guest.view", "guest.edit"], ["guest.delete"], ["qa"]))
    person = factories.user()
    with tenant_scope(house.tenant):
        member_add(house.tenant, person, role=role, actor=factories.desk())
    rest = Rest(token_create(person, name="t", actor=factories.desk())[1])

    taken = rest.patch(f"{house.url}/guests/{prod.pk}", {"tags": ["prod", "qa"]})

    assert (taken.status, taken.json["code"]) == (409, "own_reach")
    assert rest.delete(f"{house.url}/guests/{prod.pk}").status == 403
    assert rest.patch(f"{house.url}/guests/{prod.pk}", {"tags": ["prod", "web"]}).status == 200
    assert rest.patch(f"{house.url}/guests/{qa.pk}", {"tags": ["qa", "web"]}).status == 200


def test_a_change_holds_at_once_and_what_is_open_is_checked(house: factories.House, monkeypatch: Any) -> None:
    role, person = make(house), factories.user()
    with tenant_scope(house.tenant):
        member_add(house.tenant, person, role=role, actor=factories.desk())
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("tenants.services.roles.announce", lambda word, **said: told.append(said))

    with tenant_scope(house.tenant):
        role_edit(role, grants=Grants(["tenant.view"]), actor=house.actor)

    assert factories.actor_in(house.tenant, person).permissions == {P.TENANT_VIEW}
    assert [said["user"] for said in told] == [person]
    with tenant_scope(house.tenant):
        entry = AuditEntry.objects.get(action="role.edit")
    assert entry.changes["permissions"] == [["guest.view", "tenant.view"], ["tenant.view"]]


def test_a_role_that_just_went_is_missing(house: factories.House) -> None:
    role = make(house)
    with tenant_scope(house.tenant):
        role_delete(Role.objects.get(pk=role.pk), actor=house.actor)

        with pytest.raises(Missing):
            role_delete(role, actor=house.actor)
        with pytest.raises(Missing):
            role_edit(role, name="late", actor=house.actor)


def test_nobody_builds_or_changes_a_role_beyond_their_own(house: factories.House) -> None:
    strong = make(house, "strong", Grants(["tenant.close"]))
    helper, _token = factories.member_with(house.tenant, {P.ROLE_MANAGE, P.GUEST_VIEW})
    actor = factories.actor_in(house.tenant, helper)

    with tenant_scope(house.tenant):
        with pytest.raises(Forbidden):
            role_create(house.tenant, name="up", grants=Grants(["guest.power"]), actor=actor)
        with pytest.raises(Forbidden):
            role_create(house.tenant, name="up", grants=Grants([], ["guest.power"], ["qa"]), actor=actor)
        with pytest.raises(Forbidden):
            role_edit(strong, grants=Grants(["guest.view"]), actor=actor)
        with pytest.raises(Forbidden):
            role_delete(strong, actor=actor)


def test_what_is_held_on_tagged_machines_only_is_not_given_on_all(house: factories.House) -> None:
    with tenant_scope(house.tenant):
        role = Role.objects.create(
            tenant=house.tenant, name="lead", permissions=["role.manage"], tagged=["guest.power"], tags=["qa"]
        )
        person = factories.user()
        member_add(house.tenant, person, role=role, actor=factories.desk())
        with pytest.raises(Forbidden):
            role_create(
                house.tenant,
                name="up",
                grants=Grants(["guest.power"]),
                actor=factories.actor_in(house.tenant, person),
            )


@pytest.mark.parametrize(
    ("name", "grants", "field"),
    [
        ("", Grants([]), "/name"),
        ("Owner", Grants([]), "/name"),
        ("operator", Grants([]), "/name"),
        ("x\ny", Grants([]), "/name"),
        ("a", Grants(["operate"]), "/permissions"),
        ("a", Grants(["guest.fly"]), "/permissions"),
        ("a", Grants([], ["member.manage"], ["qa"]), "/tagged"),
        ("a", Grants([], ["guest.power"], []), "/tags"),
        ("a", Grants([], ["guest.power"], ["x" * 33]), "/tags"),
        ("a", Grants([], ["guest.power"], ["web servers"]), "/tags"),
    ],
)
def test_a_role_that_makes_no_sense_is_refused_at_its_field(
    house: factories.House, name: str, grants: Grants, field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        make(house, name, grants)
    assert {error.pointer for error in refusal.value.errors} == {field}


def test_a_name_is_taken_once_and_roles_have_a_cap(house: factories.House, settings: Any) -> None:
    make(house)
    with pytest.raises(Conflict) as refusal:
        make(house)
    assert refusal.value.code == "name_taken"
    settings.CAPS = {**settings.CAPS, "roles": 1}
    with pytest.raises(Conflict) as refusal:
        make(house, "another")
    assert refusal.value.code == "too_many_roles"


def test_a_role_that_somebody_has_stays(house: factories.House) -> None:
    role = make(house)
    with tenant_scope(house.tenant):
        member_add(house.tenant, factories.user(), role=role, actor=factories.desk())
        with pytest.raises(Conflict) as refusal:
            role_delete(role, actor=house.actor)
        assert refusal.value.code == "role_in_use"
        with pytest.raises(Forbidden):
            role_delete(role_named("viewer"), actor=house.actor)


def test_roles_by_rest(house: factories.House) -> None:
    rest, foreign = Rest(house.token), factories.tenant_with_owner()

    made = rest.post(f"{house.url}/roles", {"name": "tester", "permissions": ["guest.view"]})
    path = f"{house.url}/roles/{made.json['id']}"
    changed = rest.patch(path, {"tagged": ["guest.power"], "tags": ["qa"]}, If_Match=made.headers["ETag"])

    assert made.status == 201, made
    assert (changed.json["permissions"], changed.json["tagged"]) == (["guest.view"], ["guest.power"])
    assert rest.patch(path, {"name": "other"}, If_Match=made.headers["ETag"]).status == 412
    assert Rest(foreign.token).get(f"{foreign.url}/roles/{made.json['id']}").status == 404
    assert rest.delete(path).status == 204
    assert rest.get(path).status == 404


def test_a_role_is_built_and_changed_on_its_page(house: factories.House) -> None:
    client = Client()
    client.force_login(house.owner)

    answer = client.post(
        "/t/acme/roles/create/",
        {"name": "Night shift", "tags": "qa lab", "guest.view": "all", "guest.power": "tagged", "tenant.view": "on"},
    )
    assert answer.status_code == 302, answer.content
    with tenant_scope(house.tenant):
        role = Role.objects.get(name="Night shift")
    assert (role.permissions, role.tagged, role.tags) == (["guest.view", "tenant.view"], ["guest.power"], ["lab", "qa"])
    shown = client.get(f"/t/acme/roles/{role.pk}/").content.decode()
    assert 'value="qa lab"' in shown or 'value="lab qa"' in shown
    assert "Night shift" in client.get("/t/acme/roles/").content.decode()
    assert client.post(f"/t/acme/roles/{role.pk}/delete/").status_code == 302
    assert client.get(f"/t/acme/roles/{role.pk}/").status_code == 404


def test_every_permission_has_words() -> None:
    from tenants.words import LABELS

    assert set(LABELS) == ALL_TENANT_PERMISSIONS


# -- given and taken away at once --------------------------------------------------------------------------------
def _member(house: factories.House, role: Role) -> Any:
    return member_add(house.tenant, factories.user(), role=role, actor=factories.desk())


def _invitation(house: factories.House, role: Role) -> Any:
    return invitation_send(house.tenant, email="mara@example.test", role=role, actor=house.actor)


def _token(house: factories.House, role: Role) -> Any:
    return token_create(None, name="robot", actor=house.actor, tenant=house.tenant, role=role)


GIVEN = pytest.mark.parametrize("give", [_member, _invitation, _token], ids=["member", "invitation", "token"])


@GIVEN
@pytest.mark.django_db(transaction=True)
def test_a_role_that_is_just_being_deleted_is_given_to_nobody(give: Any) -> None:
    house = factories.tenant_with_owner("acme")
    role = make(house)

    def gives() -> Any:
        with tenant_scope(house.tenant):
            return give(house, role)

    with tenant_scope(house.tenant):
        refusal = meeting(lambda: role_delete(role, actor=house.actor), gives, lambda: None)

    assert isinstance(refusal, Conflict)
    assert refusal.code == "role_gone"


@GIVEN
@pytest.mark.django_db(transaction=True)
def test_a_role_that_is_just_being_given_stays(give: Any) -> None:
    house = factories.tenant_with_owner("acme")
    role = make(house)

    def deletes() -> None:
        with tenant_scope(house.tenant):
            role_delete(role, actor=house.actor)

    with tenant_scope(house.tenant):
        refusal = meeting(lambda: give(house, role), deletes, lambda: None)

    assert isinstance(refusal, Conflict)
    assert refusal.code == "role_in_use"
