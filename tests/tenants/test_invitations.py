"""Invitations: by letter, once, for a week, to no more than the inviter has; nobody learns who has an account."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.core.clock import now
from portal.core.errors import Conflict, Forbidden, Invalid, TooMany
from tenants.models import Invitation, Letter, Role, Tenant, TenantState, User
from tenants.policy import BUILT_IN_ROLES, Permission
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.invitations import (
    LETTERS_A_DAY,
    LIFE,
    PAUSE,
    InvitationOver,
    invitation_accept,
    invitation_accept_new,
    invitation_by_secret,
    invitation_resend,
    invitation_revoke,
)
from tenants.services.roles import role_named
from tenants.services.tokens import token_create, token_revoke
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import PASSWORD, House
from tests.portal.api.rest import Rest
from tests.tenants.inviting import BROWSER, alive, invite, later, letter, link, no, secret

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("harbour")


# --- sending ----------------------------------------------------------------------------------------------------
def test_an_invitation_is_a_letter_with_a_link_that_is_stored_as_a_hash(house: House) -> None:
    row = invite(house, " Mara@Example.test ")

    assert (letter().to, row.email) == ("mara@example.test", "mara@example.test")
    assert house.owner.email in letter().subject
    assert "Harbour" in letter().subject
    assert secret() not in str(vars(row))
    assert row.expires_at == row.sent_at + LIFE


def test_who_has_an_account_is_not_told(house: House) -> None:
    """P-C13: the same answer, the same work, for an address with an account and one without."""
    known = factories.user("known@example.test")
    rest = Rest(house.token)
    answers, work = [], []

    for email in ("first@example.test", known.email, "fresh@example.test"):
        with CaptureQueriesContext(connection) as queries:
            answers.append(rest.post(f"{house.url}/invitations", {"email": email, "role": "viewer"}))
        work.append([re.sub(r"'[^']*'|\d+", "", query["sql"]) for query in queries])

    said = [{**a.json, "id": "", "email": "", "created_at": "", "sent_at": "", "expires_at": ""} for a in answers]
    assert said[1] == said[2]
    assert {a.status for a in answers} == {201}
    assert work[1] == work[2]


def test_adding_without_asking_is_for_operators(house: House) -> None:
    """The old door told whether an address has an account."""
    rest = Rest(house.token)
    _person, operating = factories.operator()

    addresses = ("no@example.test", factories.user().email)
    refused = [rest.post(f"{house.url}/members", {"email": email, "role": "viewer"}) for email in addresses]
    added = Rest(operating).post(f"{house.url}/members", {"email": factories.user().email, "role": "viewer"})

    assert [(answer.status, answer.json["code"]) for answer in refused] == [(403, "forbidden")] * 2
    assert added.status == 201


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_nobody_invites_to_more_than_they_have(house: House, role: str) -> None:
    held = BUILT_IN_ROLES["member"] | {Permission.MEMBER_MANAGE}
    person, _token = factories.member_with(house.tenant, held)

    with pytest.raises(Forbidden):
        invite(house, role=role, actor=factories.actor_in(house.tenant, person))
    assert not Letter.objects.exists()


def test_what_one_has_for_tagged_machines_only_one_cannot_offer(house: House) -> None:
    person, _token = factories.member_with(
        house.tenant, BUILT_IN_ROLES["member"] | {Permission.MEMBER_MANAGE}, tags=["qa"]
    )

    with pytest.raises(Forbidden):
        invite(house, role="member", actor=factories.actor_in(house.tenant, person))


def test_a_role_of_ones_own_project_may_be_offered_and_no_other(house: House) -> None:
    other = factories.tenant_with_owner()
    with every_tenant(why="test"):
        Role.objects.create(tenant=house.tenant, name="night shift", permissions=["guest.view"])
        Role.objects.create(tenant=other.tenant, name="theirs", permissions=[])

    assert invite(house, role="night shift").role.name == "night shift"
    with pytest.raises(Invalid):
        invite(house, "b@example.test", role="theirs")


@pytest.mark.parametrize("email", ["", "mara", "a@b\nBcc: c@example.test", "a@example.test,b@example.test", "x" * 255])
def test_only_an_address_is_invited(house: House, email: str) -> None:
    with pytest.raises(Invalid):
        invite(house, email)


def test_a_member_and_an_invited_one_are_not_invited_again(house: House) -> None:
    invite(house)

    for email, code in ((house.owner.email, "already_member"), ("MARA@example.test", "already_invited")):
        with pytest.raises(Conflict) as refusal:
            invite(house, email)
        assert refusal.value.code == code


def test_an_invitation_is_no_way_to_fill_a_mailbox(house: House, settings: Any) -> None:
    settings.CAPS = {**settings.CAPS, "invitations": 3}
    row = invite(house)
    with tenant_scope(house.tenant):
        with pytest.raises(TooMany):
            invitation_resend(row, actor=house.actor)
        invitation_revoke(row, actor=house.actor)
    with pytest.raises(TooMany):
        invite(house)
    for number in range(2):
        invite(house, f"p{number}@example.test")
    with pytest.raises(TooMany):
        invite(house, "p3@example.test")
    later(days=1)
    invite(house, "p3@example.test")
    with pytest.raises(Conflict) as refusal:
        invite(house, "p4@example.test")
    assert refusal.value.code == "too_many_invitations"


def test_an_address_gets_a_few_letters_a_day_from_all_projects_together(house: House) -> None:
    other = factories.tenant_with_owner()
    for number in range(LETTERS_A_DAY):
        sender = (house, other)[number % 2]
        row = invite(sender)
        with tenant_scope(sender.tenant):
            invitation_revoke(row, actor=sender.actor)
        later(minutes=5)
    third = factories.tenant_with_owner()

    with pytest.raises(TooMany):
        invite(third)
    invite(third, "somebody.else@example.test")
    Letter.objects.update(created_at=now() - timedelta(days=1))
    assert invite(third).pk


def test_a_name_in_a_letter_is_no_header_and_no_markup(house: House) -> None:
    house.owner.name = "Eve\r\nBcc: all@example.test"
    house.owner.save()

    invite(house)

    assert letter().subject == "Eve Bcc: all@example.test invites you to Harbour"


# --- the link ---------------------------------------------------------------------------------------------------
def test_sending_again_kills_the_old_link(house: House) -> None:
    row = invite(house)
    first = secret()
    later(minutes=PAUSE.total_seconds() / 60)
    with tenant_scope(house.tenant):
        invitation_resend(row, actor=house.actor)

    assert not alive(first)
    assert alive(secret())


def test_dead_links_answer_alike_whatever_killed_them(house: House) -> None:
    def revoked(row: Invitation) -> None:
        with tenant_scope(house.tenant):
            invitation_revoke(row, actor=house.actor)

    answers = [Client().get(link("never-was"))]
    invite(house, "used@example.test")
    invitation_accept_new(invitation_by_secret(secret()), name="", password=PASSWORD, facts=BROWSER)
    answers.append(Client().get(link()))
    revoked(invite(house, "revoked@example.test"))
    answers.append(Client().get(link()))
    invite(house, "declined@example.test")
    Client().post(no())
    answers += [Client().get(link()), Client().post(link()), Client().post(no())]
    invite(house, "ended@example.test")
    later(days=8)
    answers.append(Client().get(link()))
    invite(house, "suspended@example.test")
    Tenant.objects.update(state=TenantState.SUSPENDED)
    answers.append(Client().get(link()))

    bodies = {re.sub(r"\b[0-9a-f]{32}\b", "", answer.content.decode()) for answer in answers}
    assert {answer.status_code for answer in answers} == {404}
    assert len(bodies) == 1


@pytest.mark.parametrize("role", ["admin", None], ids=["service token", "personal token"])
def test_what_a_token_sent_ends_with_the_token(house: House, role: str | None) -> None:
    with tenant_scope(house.tenant):
        token, text = token_create(
            None if role else house.owner,
            name="t",
            actor=house.actor,
            tenant=house.tenant,
            role=role_named(role) if role else None,
        )
    sent = Rest(text).post(f"{house.url}/invitations", {"email": "mara@example.test", "role": "viewer"})
    before = alive(secret())

    with tenant_scope(house.tenant):
        token_revoke(token, actor=house.actor)

    assert (sent.status, before, alive(secret())) == (201, True, False)
    with every_tenant(why="test"):
        invitation = Invitation.objects.select_related("tenant").get(email="mara@example.test")
    with pytest.raises(InvitationOver):
        invitation_accept(invitation, factories.user("mara@example.test"), facts=BROWSER)


def test_what_a_service_token_sent_ends_with_its_right_to_send_it(house: House) -> None:
    held = sorted(p.value for p in BUILT_IN_ROLES["admin"])
    with tenant_scope(house.tenant):
        robots = Role.objects.create(tenant=house.tenant, name="robots", permissions=held)
        _row, text = token_create(None, name="t", actor=house.actor, tenant=house.tenant, role=robots)
    Rest(text).post(f"{house.url}/invitations", {"email": "mara@example.test", "role": "viewer"})
    before = alive(secret())

    robots.permissions = ["guest.view"]
    robots.save()

    assert (before, alive(secret())) == (True, False)


def test_looking_at_the_link_uses_nothing_up(house: House) -> None:
    """Mail filters open every link they see."""
    invite(house)

    for _ in range(3):
        assert "no-store" in Client().get(link())["Cache-Control"]
    assert Client().head(link()).status_code == 200

    assert alive(secret())
    assert not User.objects.filter(email="mara@example.test").exists()


# --- pages and REST ---------------------------------------------------------------------------------------------
def test_the_page_sends_sends_again_and_revokes(house: House) -> None:
    client = browser(house.owner)

    client.post(
        reverse("tenants:invitation_create", args=["harbour"]), {"email": "mara@example.test", "role": "viewer"}
    )
    first = secret()
    shown = client.get(reverse("tenants:member_list", args=["harbour"])).context["invitations"]
    early = client.post(reverse("tenants:invitation_resend", args=["harbour", shown[0]["pk"]]))
    later(minutes=6)
    client.post(reverse("tenants:invitation_resend", args=["harbour", shown[0]["pk"]]))
    second = secret()
    client.post(reverse("tenants:invitation_revoke", args=["harbour", shown[0]["pk"]]))

    assert [row["email"] for row in shown] == ["mara@example.test"]
    assert early.status_code == 429
    assert first != second
    assert not alive(second)


@pytest.mark.parametrize(
    ("email", "role", "field"),
    [("no address", "viewer", "email"), ("mara@example.test", "king", "role"), ("owner", "viewer", "email")],
)
def test_who_cannot_be_invited_is_said_at_the_field(house: House, email: str, role: str, field: str) -> None:
    address = house.owner.email if email == "owner" else email

    answer = browser(house.owner).post(
        reverse("tenants:invitation_create", args=["harbour"]), {"email": address, "role": role}
    )

    assert (answer.status_code, list(answer.context["form"].errors)) == (422, [field])


def test_who_may_not_invite_sees_no_invitations_and_cannot_send(house: House) -> None:
    viewer = factories.user()
    factories.join(house.tenant, viewer, role="viewer")
    invite(house)
    client = browser(viewer)

    page = client.get(reverse("tenants:member_list", args=["harbour"]))
    asked = {"email": "x@example.test", "role": "viewer"}
    forced = client.post(reverse("tenants:invitation_create", args=["harbour"]), asked)

    assert "mara@example.test" not in page.content.decode()
    assert forced.status_code == 403


def test_rest_invites_lists_sends_again_and_revokes(house: House) -> None:
    rest = Rest(house.token)
    url = f"{house.url}/invitations"

    made = rest.post(url, {"email": "mara@example.test", "role": "viewer"})
    first = secret()
    one = rest.get(made.headers["Location"])
    early = rest.post(f"{url}/{made.json['id']}/resend")
    later(minutes=6)
    again = rest.post(f"{url}/{made.json['id']}/resend")
    stale = rest.delete(f"{url}/{made.json['id']}", If_Match=one.headers["ETag"])
    gone = rest.delete(f"{url}/{made.json['id']}", If_Match=again.headers["ETag"])
    twice = rest.delete(f"{url}/{made.json['id']}")

    assert (made.status, one.json["status"], one.json["email"]) == (201, "open", "mara@example.test")
    assert first not in str(made.json)
    assert (early.status, int(early.headers["Retry-After"]) > 0) == (429, True)
    assert (again.status, stale.status, gone.status, twice.status) == (200, 412, 204, 409)
    assert [row["status"] for row in rest.get(f"{url}?status=revoked").json["items"]] == ["revoked"]
    assert rest.get(f"{url}?status=open").json["items"] == []
    assert rest.post(url, {"email": "x@example.test", "role": "king"}).json["errors"][0]["pointer"] == "/role"
