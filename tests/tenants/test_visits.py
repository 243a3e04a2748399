"""An operator in a tenant's pages: never without a reason, never more than the member, never past the end, never unseen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from portal.core.clock import now
from portal.core.errors import Forbidden, Invalid
from tenants.access import actor_for_user, session_mark
from tenants.models import AuditEntry, Member, Notice, NoticeKind, User, Visit
from tenants.policy import READ_ONLY, WHO_COMES_IN, Permission
from tenants.reactions import announce as real_announce
from tenants.scoping import tenant_scope
from tenants.services.invitations import invitation_send
from tenants.services.members import member_remove
from tenants.services.roles import role_named
from tenants.services.tokens import token_create
from tenants.services.visits import visit_begin, visit_end, visits_end_due
from tests import factories
from tests.architecture.test_pages import browser

pytestmark = pytest.mark.django_db
P = Permission
WHY = "Their ticket 4711 about a lost address"


@pytest.fixture
def house() -> factories.House:
    return factories.tenant_with_owner("acme")


@pytest.fixture
def operator() -> User:
    return factories.user(operator=True)


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def begin(house: factories.House, operator: User, session: str = "session:x", **wish: Any) -> Visit:
    actor = actor_for_user(operator, None, via="browser", session=session)
    assert actor is not None
    with tenant_scope(house.tenant):
        member = wish.pop("member", None) or Member.objects.get(user=house.owner)
        facts = {"reason": WHY, "lasts": timedelta(minutes=15), "may_change": False, **wish}
        return visit_begin(house.tenant, member, actor=actor, **facts)


def seen_by(house: factories.House, operator: User, session: str = "session:x", via: str = "browser") -> Any:
    return actor_for_user(operator, house.tenant, via=via, session=session)


def test_without_a_visit_an_operator_only_asks_to_be_let_in(house: factories.House, operator: User) -> None:
    actor = seen_by(house, operator)

    assert actor.permissions == {P.OPERATE}
    assert not seen_by(house, operator, via="websocket").may(P.EVENT_VIEW)
    assert seen_by(house, operator, via="token").may(P.GUEST_VIEW), "REST is the operators' own, and says so in the log"


def test_a_visitor_has_what_the_member_may_look_at_and_stays_themselves(house: factories.House, operator: User) -> None:
    person, _token = factories.member_with(house.tenant, {P.GUEST_VIEW, P.GUEST_POWER, P.EVENT_VIEW})
    with tenant_scope(house.tenant):
        member = Member.objects.get(user=person)

    begin(house, operator, member=member)
    actor = seen_by(house, operator)

    assert actor.permissions == {P.GUEST_VIEW, P.EVENT_VIEW} <= READ_ONLY
    assert (actor.user, actor.place) == (operator, person.email)
    assert actor.label == f"{operator.email} as {person.email}"
    assert not actor.is_operator
    assert seen_by(house, operator, session="session:other").permissions == {P.OPERATE}, "bound to one browser"


def test_only_who_says_so_may_change_and_never_operates(house: factories.House, operator: User) -> None:
    begin(house, operator, may_change=True)
    actor = seen_by(house, operator)

    assert actor.permissions == house.actor.permissions - WHO_COMES_IN
    assert actor.may(P.GUEST_DELETE)
    assert not actor.may(P.OPERATE)


def test_a_visit_leaves_no_way_in_behind(house: factories.House, operator: User) -> None:
    begin(house, operator, may_change=True)
    actor = seen_by(house, operator)

    with tenant_scope(house.tenant):
        viewer = role_named("viewer")
        for way_in in (
            lambda: token_create(operator, name="mine", actor=actor, tenant=house.tenant),
            lambda: token_create(None, name="robot", actor=actor, tenant=house.tenant, role=viewer),
            lambda: invitation_send(house.tenant, email="me@example.test", role=viewer, actor=actor),
        ):
            with pytest.raises(Forbidden):
                way_in()


@pytest.mark.parametrize(
    "wish",
    [
        {"reason": " "},
        {"reason": "because"},
        {"reason": "x" * 501},
        {"lasts": timedelta(hours=5)},
        {"lasts": timedelta()},
    ],
    ids=["no reason", "a word", "an essay", "too long", "no time"],
)
def test_a_visit_needs_a_reason_and_an_end(house: factories.House, operator: User, wish: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        begin(house, operator, **wish)
    assert seen_by(house, operator).permissions == {P.OPERATE}


def test_who_is_no_operator_visits_nobody(house: factories.House) -> None:
    stranger = factories.user()

    with pytest.raises(Forbidden):
        begin(house, stranger)


def test_the_tenant_reads_of_it_and_its_owners_are_told(house: factories.House, operator: User) -> None:
    visit = begin(house, operator)
    with tenant_scope(house.tenant):
        visit_end(visit, actor=seen_by(house, operator))
        entries = list(AuditEntry.objects.filter(action__startswith="visit.").order_by("seq"))

    assert [(entry.action, entry.changes["reason"]) for entry in entries] == [("visit.begin", WHY), ("visit.end", WHY)]
    assert entries[0].actor_label == operator.email
    assert browser(house.owner).get("/t/acme/audit/").content.decode().count(WHY) == 2
    assert Notice.objects.filter(user=house.owner, kind=NoticeKind.VISIT).count() == 1
    assert seen_by(house, operator).permissions == {P.OPERATE}


def test_a_visit_is_over_at_its_end_and_what_it_holds_open_closes(
    house: factories.House, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(house, operator)
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("tenants.services.visits.now", lambda: now() + timedelta(minutes=16))
    monkeypatch.setattr(
        "tenants.services.visits.announce", lambda word, **said: (told.append(said), real_announce(word, **said))
    )

    assert seen_by(house, operator).permissions == {P.OPERATE}, "before anybody has swept"
    assert (visits_end_due(), visits_end_due()) == (1, 0)
    assert [said["user"] for said in told] == [operator]


def test_a_visit_ends_with_the_membership_it_stands_for(house: factories.House, operator: User) -> None:
    person, _token = factories.member_with(house.tenant, {P.GUEST_VIEW})
    with tenant_scope(house.tenant):
        member = Member.objects.get(user=person)
    begin(house, operator, member=member)

    with tenant_scope(house.tenant):
        member_remove(member, actor=house.actor)

    assert seen_by(house, operator).permissions == {P.OPERATE}


def test_a_session_is_on_one_visit(house: factories.House, operator: User) -> None:
    other = factories.tenant_with_owner()
    begin(house, operator)
    begin(other, operator)

    assert seen_by(house, operator).permissions == {P.OPERATE}
    assert seen_by(other, operator).may(P.GUEST_VIEW)


def test_an_operator_who_is_a_member_needs_no_visit_and_is_no_operator_there(
    house: factories.House, operator: User
) -> None:
    factories.join(house.tenant, operator, role="viewer")

    actor = seen_by(house, operator)

    assert actor.may(P.GUEST_VIEW)
    assert not actor.may(P.GUEST_POWER)
    assert not actor.is_operator


def test_the_pages_lead_to_the_door_in_with_a_banner_and_out(house: factories.House, operator: User) -> None:
    client = signed_in(operator)
    to_door = client.get("/t/acme/machines/")
    assert to_door.status_code == 302
    assert to_door["Location"] == "/t/acme/visit/?next=%2Ft%2Facme%2Fmachines%2F"
    assert client.post("/t/acme/settings/").status_code == 403
    door = client.get(to_door["Location"]).content.decode()
    assert "data-events" not in door, "it would listen to what it may not hear, be refused, and load itself again"
    assert 'id="jump"' not in door
    with tenant_scope(house.tenant):
        member = Member.objects.get(user=house.owner)

    form = {"member": str(member.pk), "reason": WHY, "minutes": "15", "next": "/t/acme/machines/"}
    inside = client.post("/t/acme/visit/", form)
    assert inside.status_code == 302, inside.content
    assert inside["Location"] == "/t/acme/machines/"
    shown = client.get("/t/acme/machines/").content.decode()
    assert f"in the place of {house.owner.email}" in shown
    assert client.get("/t/acme/machines/create/").status_code == 403
    assert Visit.objects.model._base_manager.get().session == session_mark(client.session.session_key)

    assert client.post("/t/acme/visit/end/")["Location"] == "/operator/"
    assert client.get("/t/acme/machines/").status_code == 302


@pytest.mark.parametrize("wanted", ["https://evil.test/", "//evil.test/t/acme/", "/operator/", "/t/other/", ""])
def test_the_door_leads_nowhere_else(house: factories.House, operator: User, wanted: str) -> None:
    client = signed_in(operator)
    with tenant_scope(house.tenant):
        member = Member.objects.get(user=house.owner)

    answer = client.post("/t/acme/visit/", {"member": str(member.pk), "reason": WHY, "minutes": "15", "next": wanted})

    assert answer["Location"] == "/t/acme/"


def test_a_member_has_no_door(house: factories.House) -> None:
    assert signed_in(house.owner).get("/t/acme/visit/").status_code == 403
