"""What a membership opens, its end shuts: REST, live pages and consoles; and a tenant always has an owner."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from redis import Redis

from portal.core.errors import Conflict, Forbidden
from tenants.models import Invitation, Member, Notice, User
from tenants.policy import ALL_TENANT_PERMISSIONS, Permission
from tenants.scoping import tenant_scope
from tenants.services.invitations import invitation_send
from tenants.services.members import member_remove, member_set_role, ownership_transfer
from tenants.services.roles import role_named
from tenants.services.tokens import token_create
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.support.crowd import together
from vms.consoles import tickets
from vms.services.consoles import console_open

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("harbour")


def member(house: House, person: User) -> Member:
    with tenant_scope(house.tenant):
        found: Member = Member.objects.get(user=person)
        return found


def roles(house: House) -> dict[str, str]:
    with tenant_scope(house.tenant):
        return {row.user.email: row.role.name for row in Member.objects.select_related("user", "role")}


def joined(house: House, role: str) -> User:
    person = factories.user()
    factories.join(house.tenant, person, role=role)
    return person


def remove(house: House, person: User, *, by: User | None = None) -> None:
    with tenant_scope(house.tenant):
        member_remove(member(house, person), actor=factories.actor_in(house.tenant, by or house.owner))


def give(house: House, person: User, role: str, *, by: User | None = None) -> None:
    with tenant_scope(house.tenant):
        actor = factories.actor_in(house.tenant, by or house.owner)
        member_set_role(member(house, person), role=role_named(role), actor=actor)


def hand_over(house: House, person: User, *, by: User | None = None) -> None:
    with tenant_scope(house.tenant):
        ownership_transfer(member(house, person), actor=factories.actor_in(house.tenant, by or house.owner))


# --- handing over -----------------------------------------------------------------------------------------------
def test_handing_over_makes_one_an_owner_and_the_other_an_admin(house: House) -> None:
    person = joined(house, "viewer")

    hand_over(house, person)

    assert roles(house) == {person.email: "owner", house.owner.email: "admin"}
    with pytest.raises(Forbidden):
        hand_over(house, house.owner, by=house.owner)


def test_an_owner_may_step_down_in_favour_of_another_owner(house: House) -> None:
    person = joined(house, "owner")

    hand_over(house, person)

    assert roles(house) == {person.email: "owner", house.owner.email: "admin"}


def test_nobody_hands_over_to_themselves_or_what_they_do_not_own(house: House) -> None:
    admin, viewer = joined(house, "admin"), joined(house, "viewer")
    almost, _token = factories.member_with(house.tenant, ALL_TENANT_PERMISSIONS)

    with pytest.raises(Conflict):
        hand_over(house, house.owner)
    with pytest.raises(Forbidden):
        hand_over(house, viewer, by=admin)
    with pytest.raises(Conflict):
        hand_over(house, viewer, by=almost)
    assert roles(house)[house.owner.email] == "owner"


def test_rest_hands_over(house: House) -> None:
    person = joined(house, "viewer")

    answer = Rest(house.token).post(f"{house.url}/members/{member(house, person).pk}/transfer")

    assert (answer.status, answer.json["role"]) == (200, "owner")
    assert roles(house)[house.owner.email] == "admin"


# --- always an owner --------------------------------------------------------------------------------------------
def test_an_owner_who_cannot_sign_in_is_none(house: House) -> None:
    person = joined(house, "owner")
    User.objects.filter(pk=person.pk).update(is_active=False)

    with pytest.raises(Conflict):
        remove(house, house.owner)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "ends",
    [
        (remove, remove),
        (remove, lambda house, person, by: give(house, person, "viewer", by=by)),
        (lambda house, person, by: give(house, person, "admin", by=by), remove),
    ],
    ids=["both leave", "one leaves, one steps down", "one steps down, one leaves"],
)
def test_two_owners_who_go_at_once_leave_one(ends: tuple[Callable[..., None], Callable[..., None]]) -> None:
    for _ in range(5):
        house = factories.tenant_with_owner()
        other = joined(house, "owner")
        first, second = ends

        done = together(
            [
                lambda house=house, first=first: first(house, house.owner, by=house.owner),
                lambda house=house, other=other, second=second: second(house, other, by=other),
            ]
        )

        refused = [each for each in done if isinstance(each, Exception)]
        assert len(refused) == 1
        assert isinstance(refused[0], Conflict)
        assert refused[0].code == "last_owner"
        assert list(roles(house).values()).count("owner") == 1


@pytest.mark.django_db(transaction=True)
def test_handing_over_to_somebody_who_is_just_leaving_leaves_an_owner() -> None:
    for _ in range(5):
        house = factories.tenant_with_owner()
        heir = joined(house, "viewer")

        together(
            [
                lambda house=house, heir=heir: hand_over(house, heir),
                lambda house=house, heir=heir: remove(house, heir, by=heir),
            ]
        )

        assert "owner" in roles(house).values()


@pytest.mark.django_db(transaction=True)
def test_rest_with_if_match_and_without_do_not_wait_for_each_other() -> None:
    """A row locked by ``If-Match`` before the tenant's people would meet one who locks them the other way round."""
    house = factories.tenant_with_owner()
    people = [joined(house, "viewer") for _ in range(4)]
    rest = Rest(house.token)
    work = []
    for person in people:
        url = f"{house.url}/members/{member(house, person).pk}"
        etag = rest.get(url).headers["ETag"]
        work.append(lambda url=url, etag=etag: Rest(house.token).delete(url, If_Match=etag).status)
        work.append(lambda url=url: Rest(house.token).patch(url, {"role": "admin"}).status)

    done = together(work)

    assert {each for each in done if isinstance(each, int)} <= {200, 204, 404, 409, 412}
    assert not [each for each in done if isinstance(each, Exception)]


# --- what is lost with it ---------------------------------------------------------------------------------------
LOSSES: dict[str, Callable[[House, User], Any]] = {
    "removed": lambda house, person: remove(house, person),
    "left": lambda house, person: remove(house, person, by=person),
    "role lowered": lambda house, person: give(house, person, "viewer"),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_membership_shuts_rest_pages_and_consoles_at_once(loss: str) -> None:
    """P-A7, P-C9; live pages are in ``tests/operations/test_live_events.py``, open consoles in ``tests/vms/consoles``."""
    house = factories.tenant_with_owner()
    guest = factories.guest(house)
    person = joined(house, "member")
    with tenant_scope(house.tenant):
        actor = factories.actor_in(house.tenant, person)
        _personal, anywhere = token_create(person, name="a", actor=factories.desk())
        _narrow, here = token_create(person, name="b", actor=actor, tenant=house.tenant)
        waiting = console_open(guest, kind="vnc", actor=actor).ticket
        mine = console_open(guest, kind="vnc", actor=house.actor).ticket
    client = browser(person)
    url = f"{house.url}/guests/{guest.pk}/console"
    assert Rest(here).post(url, {"kind": "vnc"}).status == 200

    LOSSES[loss](house, person)

    answers = [Rest(token).post(url, {"kind": "vnc"}).status for token in (anywhere, here)]
    pages = client.get(reverse("vms:guest_list", args=[house.tenant.slug])).status_code
    redis = Redis.from_url(settings.REDIS_URL)
    assert tickets.redeem(redis, waiting) is None
    assert tickets.redeem(redis, mine) is not None
    if loss == "role lowered":
        assert (answers, pages) == ([403, 403], 200)
    else:
        assert (answers, pages) == ([404, 401], 404)


def test_what_somebody_sent_out_ends_with_them_and_is_written_down(house: House) -> None:
    person = joined(house, "admin")
    with tenant_scope(house.tenant):
        actor = factories.actor_in(house.tenant, person)
        invitation_send(house.tenant, email="mara@example.test", role=role_named("member"), actor=actor)

    remove(house, person)

    with tenant_scope(house.tenant):
        assert Invitation.objects.get().revoked_at is not None
    text = browser(house.owner).get("/t/harbour/audit/").content.decode()
    assert "took back the invitation of" in text


def test_one_may_leave_without_leave_and_never_by_token(house: House) -> None:
    person, token = factories.member_with(house.tenant, [Permission.TENANT_VIEW])
    row = member(house, person)

    by_token = Rest(token).delete(f"{house.url}/members/{row.pk}")
    browser(person).post(f"/t/harbour/members/{row.pk}/remove/", {"confirmed": "yes"})

    assert by_token.status == 403
    assert person.email not in roles(house)


def test_a_person_of_many_projects_finds_each_by_a_part_of_its_name(house: House) -> None:
    for number in range(25):
        other = factories.tenant_with_owner(f"garden-{number}")
        factories.join(other.tenant, house.owner, role="viewer")
    client: Client = browser(house.owner)

    every = client.get("/").context["tenants"]
    some = client.get("/?q=garden-2").context["tenants"]
    none = client.get("/?q=nowhere").content.decode()
    with CaptureQueriesContext(connection) as asked:
        switch = client.get("/t/harbour/switch/", headers={"HX-Request": "true"}).content.decode()
    read = next(q["sql"] for q in asked if '"tenants_tenant"."name" ASC' in q["sql"])

    assert len(every) == 26
    assert [tenant["name"] for tenant in some] == [f"Garden-{n}" for n in ("2", "20", "21", "22", "23", "24")]
    assert "None of your projects is called nowhere." in none
    assert "All your projects" in switch
    assert re.findall(r'aria-current="true"><span[^>]*>[^<]*</span><span class="cut">([^<]*)', switch) == ["Harbour"]
    assert switch.count('href="/t/garden-') == 9
    assert client.get("/t/harbour/switch/").headers["Location"] == "/", "without scripts there is a page of them all"
    assert "LIMIT 11" in read, "whoever belongs to thousands would load them for every menu"


def test_who_goes_may_have_kept_the_text_of_the_projects_tokens(house: House) -> None:
    admin = joined(house, "admin")
    row = member(house, admin)
    with tenant_scope(house.tenant):
        actor = factories.actor_in(house.tenant, admin)
        for name in ("deploy", "backup"):
            token_create(None, name=name, actor=actor, tenant=house.tenant, role=role_named("member"))

    asked = browser(house.owner).post(reverse("tenants:member_remove", args=["harbour", row.pk])).content.decode()
    remove(house, admin)

    assert "2 tokens of the project itself were made by them" in asked
    assert reverse("tenants:token_list", args=["harbour"]) in asked
    told = Notice.objects.get(user=house.owner)
    assert "backup, deploy" in told.text
    assert told.url == reverse("tenants:token_list", args=["harbour"])
