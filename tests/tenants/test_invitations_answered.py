"""Whoever has the letter's link accepts or declines, once, and gets what was offered and no more."""

from __future__ import annotations

import io
import logging
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.urls import reverse

from portal.core.clock import now
from portal.core.errors import Conflict
from portal.core.logs import configure
from tenants.actors import Actor
from tenants.models import ApiToken, AuditEntry, Invitation, Member, Notice, Role, User
from tenants.scoping import tenant_scope
from tenants.services.invitations import (
    PAUSE_AFTER_NO,
    InvitationOver,
    invitation_accept,
    invitation_accept_new,
    invitation_by_secret,
    invitation_decline,
    invitation_revoke,
    invitations_forget,
    invitations_to,
)
from tenants.services.members import member_remove, member_set_role
from tenants.services.roles import role_named
from tenants.services.tokens import token_create
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import PASSWORD, House
from tests.portal.api.rest import Rest
from tests.support.crowd import together
from tests.tenants.inviting import BROWSER, alive, invite, later, link, no, secret

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("harbour")


def is_member(house: House, person: User) -> bool:
    with tenant_scope(house.tenant):
        return bool(Member.objects.filter(user=person).exists())


# --- accepting --------------------------------------------------------------------------------------------------
def test_somebody_new_chooses_a_password_and_is_in(house: House) -> None:
    invite(house, role="member")
    client = Client()

    page = client.get(link()).content.decode()
    weak = client.post(link(), {"name": "Mara", "password": "short"})
    joined = client.post(link(), {"name": "Mara", "password": PASSWORD})

    person = User.objects.get(email="mara@example.test")
    assert 'value="mara@example.test"' in page
    assert (weak.status_code, list(weak.context["form"].errors)) == (422, ["password"])
    assert joined["Location"] == "/t/harbour/"
    assert client.get("/t/harbour/").status_code == 200
    with tenant_scope(house.tenant):
        entries = AuditEntry.objects.filter(actor=person)
        assert {entry.action for entry in entries} == {"member.add", "invitation.accept"}
        assert {(entry.via, entry.address) for entry in entries} == {("browser", "127.0.0.1")}
        assert all(entry.request_id for entry in entries)
    assert (person.name, person.is_staff, person.check_password(PASSWORD)) == ("Mara", False, True)
    assert EmailAddress.objects.get(user=person).verified
    with tenant_scope(house.tenant):
        assert Member.objects.get(user=person).role.name == "member"
    assert not alive(link().rsplit("/", 2)[1])


def test_the_first_sign_in_of_somebody_new_is_listed_and_ends_with_the_others(house: House) -> None:
    invite(house)
    first, second = Client(), Client()
    first.post(link(), {"password": PASSWORD})
    second.post("/account/login/", {"login": "mara@example.test", "password": PASSWORD})

    listed = second.get("/account/sessions/").context["sessions"]
    second.post("/account/sessions/")

    assert len(listed) == 2
    assert first.get("/t/harbour/").status_code == 302
    assert second.get("/t/harbour/").status_code == 200


def test_the_log_of_a_refused_password_does_not_open_the_invitation(house: House, monkeypatch: Any) -> None:
    invite(house)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    log = io.StringIO()
    configure(log)

    answer = Client().post(link(), {"password": "short"})

    assert (answer.status_code, alive(secret())) == (422, True)
    assert "/account/invitation/[redacted]/" in log.getvalue()
    assert secret() not in log.getvalue()


def test_the_address_of_the_form_is_the_invited_one_whatever_is_posted(house: House) -> None:
    invite(house)

    Client().post(
        link(), {"name": "M", "password": PASSWORD, "email": "root@example.test", "is_staff": "on", "role": "owner"}
    )

    assert not User.objects.filter(email="root@example.test").exists()
    with tenant_scope(house.tenant):
        assert Member.objects.get(user__email="mara@example.test").role.name == "viewer"


def test_somebody_with_an_account_signs_in_first_and_joins_with_one_click(house: House) -> None:
    person = factories.user("mara@example.test")
    invite(house)
    anonymous, client = Client(), browser(person)

    asked = anonymous.get(link())
    forced = anonymous.post(link(), {"name": "M", "password": "another correct horse"})
    joined = client.post(link())

    assert "/account/login/?next=" in asked.content.decode()
    assert forced.status_code == 200
    assert User.objects.get(pk=person.pk).check_password(PASSWORD)
    assert joined["Location"] == "/t/harbour/"
    assert is_member(house, person)


def test_who_is_signed_in_as_somebody_else_is_told_so(house: House) -> None:
    other = factories.user("other@example.test")
    invite(house)
    client = browser(other)

    text = client.get(link()).content.decode()
    client.post(link())

    assert "You are signed in as other@example.test." in text
    assert "The invitation is for mara@example.test." in text
    assert is_member(house, other)
    notice = Notice.objects.get(user=house.owner)
    assert "other@example.test" in notice.text


def test_ones_projects_show_invitations_to_ones_proven_addresses_only(house: House) -> None:
    person, stranger = factories.user("mara@example.test"), factories.user()
    EmailAddress.objects.create(user=stranger, email="Mara@Example.test".lower() + ".x", verified=False)
    EmailAddress.objects.create(user=stranger, email="eve@example.test", verified=False)
    row, to_eve = invite(house), invite(house, "eve@example.test")

    page = browser(person).get("/")
    stolen = browser(stranger).post(reverse("tenants:invitation_join", args=[row.pk]))
    unproven = browser(stranger).post(reverse("tenants:invitation_join", args=[to_eve.pk]))
    joined = browser(person).post(reverse("tenants:invitation_join", args=[row.pk]))

    assert [found["tenant"] for found in page.context["invitations"]] == ["Harbour"]
    assert invitations_to(stranger) == []
    assert (stolen.status_code, unproven.status_code) == (404, 404)
    assert joined["Location"] == "/t/harbour/"
    assert is_member(house, person)
    assert not is_member(house, stranger)


def test_a_member_who_accepts_stays_what_they_are(house: House) -> None:
    invite(house, "second@example.test", role="viewer")

    member = invitation_accept(invitation_by_secret(secret()), house.owner, facts=BROWSER)

    assert member.role.name == "owner"
    assert not alive(secret())


def test_accepting_is_written_down_with_who_and_from_where(house: House) -> None:
    invite(house)
    invitation_accept_new(invitation_by_secret(secret()), name="Mara", password=PASSWORD, facts=BROWSER)

    with tenant_scope(house.tenant):
        entry = AuditEntry.objects.get(action="invitation.accept")
    assert (entry.actor_label, entry.address, entry.via) == ("mara@example.test", "192.0.2.1", "browser")
    assert Notice.objects.get(user=house.owner).subject == "Mara has joined Harbour"


def test_what_was_offered_ends_with_the_right_to_offer_it(house: House) -> None:
    def admin() -> tuple[User, Actor]:
        person = factories.user()
        factories.join(house.tenant, person, role="admin")
        return person, factories.actor_in(house.tenant, person)

    secrets = []
    for number, end in enumerate(("removed", "demoted", "inactive", "role narrowed")):
        person, actor = admin()
        invite(house, f"p{number}@example.test", role="admin", actor=actor)
        secrets.append(secret())
        assert alive(secrets[-1])
        with tenant_scope(house.tenant):
            member = Member.objects.get(user=person)
            if end == "removed":
                member_remove(member, actor=house.actor)
            elif end == "demoted":
                member_set_role(member, role=role_named("viewer"), actor=house.actor)
            elif end == "inactive":
                User.objects.filter(pk=person.pk).update(is_active=False)
            else:
                member.role = Role.objects.create(tenant=house.tenant, name="narrow", permissions=["member.manage"])
                member.save()

    assert [alive(each) for each in secrets] == [False] * 4


def test_a_lesser_role_offered_stays_when_its_sender_becomes_less(house: House) -> None:
    person = factories.user()
    factories.join(house.tenant, person, role="owner")
    invite(house, role="viewer", actor=factories.actor_in(house.tenant, person))
    with tenant_scope(house.tenant):
        member_set_role(Member.objects.get(user=person), role=role_named("admin"), actor=house.actor)

    assert alive(secret())


def test_who_comes_back_finds_no_old_token_open(house: House) -> None:
    person = factories.user("mara@example.test")
    factories.join(house.tenant, person, role="member")
    with tenant_scope(house.tenant):
        actor = factories.actor_in(house.tenant, person)
        token, raw = token_create(person, name="old", actor=actor, tenant=house.tenant)
        member_remove(Member.objects.get(user=person), actor=house.actor)
    invite(house, role="owner")
    invitation_accept(invitation_by_secret(secret()), person, facts=BROWSER)

    assert Rest(raw).get(f"{house.url}/guests").status == 401
    assert ApiToken.objects.get(pk=token.pk).revoked_at is not None


def test_what_ended_long_ago_is_forgotten(house: House) -> None:
    invite(house)

    assert invitations_forget(at=now() + timedelta(days=96)) == 0
    assert invitations_forget(at=now() + timedelta(days=98)) == 1


# --- declining --------------------------------------------------------------------------------------------------
def test_who_has_the_letter_declines_without_signing_in(house: House) -> None:
    invite(house)

    asked = Client().get(link()).content.decode()
    looked = Client().get(no())
    answer = Client().post(no())

    assert 'action="decline/"' in asked
    assert looked.status_code == 405, "mail filters open every link they see"
    assert "You will not join Harbour" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert not alive(secret())
    assert not User.objects.filter(email="mara@example.test").exists()


def test_declining_is_written_down_and_told_to_who_asked(house: House) -> None:
    invite(house)

    Client(REMOTE_ADDR="192.0.2.7").post(no())

    with tenant_scope(house.tenant):
        entry = AuditEntry.objects.get(action="invitation.decline")
    assert (entry.actor_label, entry.address, entry.via) == ("mara@example.test", "192.0.2.7", "browser")
    notice = Notice.objects.get(user=house.owner)
    assert notice.subject == "mara@example.test does not want to join Harbour"
    assert notice.url == "/t/harbour/members/"


def test_who_is_signed_in_declines_from_their_projects(house: House) -> None:
    person, stranger = factories.user("mara@example.test"), factories.user()
    row = invite(house)
    address = reverse("tenants:invitation_stay_out", args=[row.pk])

    stolen = browser(stranger).post(address)
    shown = browser(person).get("/")
    answer = browser(person).post(address, follow=True)

    assert stolen.status_code == 404
    assert address in shown.content.decode()
    assert "You declined the invitation to Harbour." in answer.content.decode()
    assert answer.context["invitations"] == []
    with tenant_scope(house.tenant):
        assert AuditEntry.objects.get(action="invitation.decline").actor_label == "mara@example.test"
    assert not is_member(house, person)


def test_who_invited_sees_that_it_was_declined_and_may_ask_again_the_day_after(house: House) -> None:
    row, rest = invite(house), Rest(house.token)
    invitation_decline(invitation_by_secret(secret()), None, facts=BROWSER)
    members = reverse("tenants:member_list", args=["harbour"])

    page = browser(house.owner).get(members)
    early = rest.post(f"{house.url}/invitations", {"email": row.email, "role": "viewer"})
    revoked = rest.delete(f"{house.url}/invitations/{row.pk}")
    states = [rest.get(f"{house.url}/invitations?status={state}").json["items"] for state in ("declined", "revoked")]
    later(seconds=PAUSE_AFTER_NO.total_seconds())
    again = rest.post(f"{house.url}/invitations", {"email": row.email, "role": "viewer"})

    assert "declined" in page.content.decode()
    assert [shown["may_change"] for shown in page.context["invitations"]] == [False]
    assert (early.status, int(early.headers["Retry-After"]) > 3600) == (429, True)
    assert (revoked.status, revoked.json["code"]) == (409, "invitation_ended")
    assert [[each["status"] for each in rows] for rows in states] == [["declined"], []]
    assert (again.status, again.json["status"]) == (201, "open")
    later(days=8)
    assert browser(house.owner).get(members).context["invitations"][0]["declined"] is False


# --- at the same time -------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_one_link_lets_one_person_in_however_many_try() -> None:
    house = factories.tenant_with_owner()
    people = [factories.user() for _ in range(6)]
    invite(house)
    row = invitation_by_secret(secret())

    done = together([lambda person=person: invitation_accept(row, person, facts=BROWSER) for person in people])

    assert sum(isinstance(each, Member) for each in done) == 1
    assert sum(isinstance(each, InvitationOver) for each in done) == 5


@pytest.mark.django_db(transaction=True)
def test_revoked_and_accepted_at_once_is_one_of_them() -> None:
    for _ in range(5):
        house = factories.tenant_with_owner()
        person = factories.user()
        row = invite(house)

        def revoke(house: House = house, row: Invitation = row) -> Any:
            with tenant_scope(house.tenant):
                return invitation_revoke(row, actor=house.actor)

        together([revoke, lambda row=row, person=person: invitation_accept(row, person, facts=BROWSER)])

        with tenant_scope(house.tenant):
            row.refresh_from_db()
        assert (row.accepted_at is None) != (row.revoked_at is None)
        assert is_member(house, person) == (row.accepted_at is not None)


@pytest.mark.django_db(transaction=True)
def test_declined_and_accepted_at_once_is_one_of_them() -> None:
    for _ in range(5):
        house = factories.tenant_with_owner()
        person = factories.user()
        row = invite(house)

        together(
            [
                lambda row=row: invitation_decline(row, None, facts=BROWSER),
                lambda row=row, person=person: invitation_accept(row, person, facts=BROWSER),
            ]
        )

        with tenant_scope(house.tenant):
            row.refresh_from_db()
        assert (row.accepted_at is None) == row.declined
        assert is_member(house, person) != row.declined


@pytest.mark.django_db(transaction=True)
def test_the_cap_of_members_holds_against_a_crowd(settings: Any) -> None:
    settings.CAPS = {**settings.CAPS, "members": 3}
    house = factories.tenant_with_owner()
    work = []
    for number in range(6):
        invite(house, f"p{number}@example.test")
        row = invitation_by_secret(secret())
        work.append(lambda row=row: invitation_accept_new(row, name="", password=PASSWORD, facts=BROWSER))

    done = together(work)

    assert sum(isinstance(each, Member) for each in done) == 2
    assert {each.code for each in done if isinstance(each, Conflict)} == {"too_many_members"}
    assert User.objects.filter(email__startswith="p").exclude(email__startswith="person").count() == 2
