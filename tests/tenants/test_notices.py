"""People are told what concerns them, where each of them wants it, in their own language, and nobody else hears of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.services import operation_cancel
from portal.core.clock import now
from portal.core.errors import Invalid
from tenants.journal.models import Event
from tenants.models import Letter, Member, Notice, NoticeChoice, NoticeKind, User
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.members import member_remove
from tenants.services.notices import notice_choose, notice_send, notices_forget, notices_read, security_notice
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.models import Host

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("harbour")


def tell(house: House, kind: NoticeKind = NoticeKind.QUOTA, **words: Any) -> int:
    return notice_send(house.tenant, [house.owner], kind, **{"subject": "Disk runs short", **words})


def choose(person: User, kind: NoticeKind, *, in_portal: bool, by_mail: bool) -> NoticeChoice:
    return notice_choose(person, kind, in_portal=in_portal, by_mail=by_mail, actor=factories.desk())


def test_by_default_both_ways(house: House) -> None:
    assert tell(house, text="Of 500 GiB, 450 are used.", url="/t/harbour/quota/") == 1

    notice, letter = Notice.objects.get(), Letter.objects.get()
    assert (notice.user, notice.tenant, notice.subject) == (house.owner, house.tenant, "Disk runs short")
    assert (letter.to, letter.subject) == (house.owner.email, "Disk runs short")
    assert "Of 500 GiB, 450 are used." in letter.body
    assert "http://127.0.0.1:8000/t/harbour/quota/" in letter.body
    assert "/account/notices/choices/" in letter.body


@pytest.mark.parametrize("in_portal", [True, False])
@pytest.mark.parametrize("by_mail", [True, False])
def test_each_kind_goes_where_its_reader_wants_it(house: House, in_portal: bool, by_mail: bool) -> None:
    choose(house.owner, NoticeKind.QUOTA, in_portal=in_portal, by_mail=by_mail)

    tell(house)

    assert (Notice.objects.count(), Letter.objects.count()) == (in_portal, by_mail)


def test_what_is_about_security_always_comes_by_mail(house: House) -> None:
    """Whoever took over a session cannot silence the letter that tells of it, not even in the database's own rows."""
    with pytest.raises(Invalid):
        choose(house.owner, NoticeKind.SECURITY, in_portal=True, by_mail=False)
    NoticeChoice.objects.create(user=house.owner, kind=NoticeKind.SECURITY, in_portal=False, by_mail=False)

    security_notice(house.owner, subject="Your password was changed")

    assert Letter.objects.get().subject == "Your password was changed"


def test_who_holds_a_permission_is_told_and_nobody_of_another_project(house: House) -> None:
    other = factories.tenant_with_owner()
    viewer, admin, gone = factories.user(), factories.user(), factories.user()
    for person, role in ((viewer, "viewer"), (admin, "admin"), (gone, "owner")):
        factories.join(house.tenant, person, role=role)
    gone.is_active = False
    gone.save()

    told = notice_send(house.tenant, Permission.QUOTA_REQUEST, NoticeKind.QUOTA, subject="x")

    assert told == 2
    assert set(Notice.objects.values_list("user", flat=True)) == {house.owner.pk, admin.pk}
    assert other.owner.pk not in Notice.objects.values_list("user", flat=True)


def test_a_name_cannot_become_a_header(house: House) -> None:
    tell(house, subject="Quota of a\r\nBcc: b@example.test\x00\u2028c")

    assert Letter.objects.get().subject == "Quota of a Bcc: b@example.test c"


def test_nothing_is_said_of_a_change_that_is_undone(house: House) -> None:
    with transaction.atomic():
        tell(house)
        transaction.set_rollback(True)

    assert not Notice.objects.exists()
    assert not Letter.objects.exists()


def test_each_is_told_in_their_own_language(house: House) -> None:
    house.owner.language = "de"
    house.owner.save()

    tell(house, subject=format_lazy("{word}", word=gettext_lazy("Password")))

    assert Notice.objects.get().subject == "Passwort"


def test_open_pages_of_that_person_hear_of_it(house: House, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        tell(house)

    with tenant_scope(house.tenant):
        event = Event.objects.order_by("-seq")[0]
    assert (event.type, event.resource_id) == ("notice.changed", str(house.owner.pk))


def test_reading_marks_ones_own_only(house: House) -> None:
    other = factories.tenant_with_owner()
    tell(house)
    tell(other)
    foreign = Notice.objects.get(user=other.owner)

    assert notices_read(house.owner, [foreign.pk]) == 0
    assert notices_read(house.owner) == 1
    assert notices_read(house.owner) == 0
    foreign.refresh_from_db()
    assert foreign.read_at is None


def test_old_notices_are_forgotten(house: House) -> None:
    tell(house)

    assert notices_forget(at=now() + timedelta(days=89)) == 0
    assert notices_forget(at=now() + timedelta(days=91)) == 1


# --- failed operations ------------------------------------------------------------------------------------------
def test_who_asked_is_told_that_it_failed(house: House) -> None:
    _guest, operation = factories.guest_building(house, "web-1")

    factories.operation_broken(operation)

    notice = Notice.objects.get()
    assert notice.user == house.owner
    assert notice.kind == NoticeKind.OPERATION_FAILED
    assert "web-1" in notice.subject
    assert notice.text == "It did not work. Try again."
    assert "the host said no" not in notice.text
    assert Client().get(notice.url).status_code == 302
    assert browser(house.owner).get(notice.url).status_code == 200
    assert not Letter.objects.exists()


def test_many_at_once_that_fail_are_one_notice(house: House) -> None:
    if not Host.objects.exists():
        factories.host_up()
    body = {"name": "many", "flavor": str(factories.flavor("small").pk), "image": str(factories.image().pk), "count": 3}
    parent = Rest(house.token).post(f"{house.url}/guests", body).json["id"]

    with tenant_scope(house.tenant):
        for child in Operation.objects.filter(parent=parent):
            factories.operation_broken(child)

    assert Notice.objects.get().url.endswith(f"{parent}/")


def test_what_was_called_off_or_worked_is_no_notice(house: House) -> None:
    _guest, operation = factories.guest_building(house)
    _other, done = factories.guest_building(house)
    with tenant_scope(house.tenant):
        operation_cancel(operation, actor=house.actor)
        factories.operation_done(done)

    assert not Notice.objects.exists()


def test_who_has_left_is_not_told(house: House) -> None:
    person = factories.user()
    factories.join(house.tenant, person, role="owner")
    _guest, operation = factories.guest_building(House(house.tenant, person, ""))
    with tenant_scope(house.tenant):
        member_remove(Member.objects.get(user=person), actor=house.actor)

    factories.operation_broken(operation)

    assert not Notice.objects.filter(user=person).exists()


# --- pages ------------------------------------------------------------------------------------------------------
def test_the_bell_counts_and_the_page_lists(house: House) -> None:
    client = browser(house.owner)
    tell(house, url="/t/harbour/quota/")
    tell(house, subject="<script>alert(1)</script>")

    text = client.get("/t/harbour/members/").content.decode()
    listed = client.get(reverse("tenants:notice_list")).content.decode()

    assert "Notices, 2 unread" in text
    assert "Disk runs short" in listed
    assert "<script>alert(1)" not in listed


def test_opening_a_notice_reads_it_and_leads_there(house: House) -> None:
    client = browser(house.owner)
    tell(house, url="/t/harbour/quota/")
    notice = Notice.objects.get()

    answer = client.post(reverse("tenants:notice_open", args=[notice.pk]))

    assert answer["Location"] == "/t/harbour/quota/"
    assert "Disk runs short" not in client.get(reverse("tenants:notice_list") + "?unread=1").content.decode()
    assert client.get(reverse("tenants:notice_bell")).context["unread"] == 0


def test_a_notice_of_somebody_else_is_not_there(house: House) -> None:
    tell(house)

    answer = browser(factories.user()).post(reverse("tenants:notice_open", args=[Notice.objects.get().pk]))

    assert answer.status_code == 404
    assert Notice.objects.get().read_at is None


def test_the_page_goes_on_and_all_is_read_at_once(house: House) -> None:
    client = browser(house.owner)
    for number in range(60):
        tell(house, subject=f"n {number}")

    first = client.get(reverse("tenants:notice_list"))
    second = client.get(reverse("tenants:notice_list") + first.context["page"]["next_url"])
    client.post(reverse("tenants:notice_read_all"))

    assert (len(first.context["notices"]), len(second.context["notices"])) == (50, 10)
    assert not Notice.objects.filter(read_at=None).exists()


def test_choices_are_saved_and_the_letters_of_security_cannot_be_unticked(house: House) -> None:
    client = browser(house.owner)

    answer = client.post(reverse("tenants:notice_choices"), {"quota_portal": "on"})

    assert answer.status_code == 302
    chosen = {row.kind: (row.in_portal, row.by_mail) for row in NoticeChoice.objects.all()}
    assert chosen["quota"] == (True, False)
    assert chosen["security"] == (False, True)


# --- REST -------------------------------------------------------------------------------------------------------
def test_rest_lists_reads_and_chooses(house: House) -> None:
    rest = Rest(house.token)
    tell(house)
    tell(house, NoticeKind.VISIT, subject="An operator looked in")

    listed = rest.get("/me/notices").json["items"]
    read = rest.post("/me/notices/read", {"ids": [listed[0]["id"], "x"]}).json
    unread = rest.get("/me/notices?unread=true").json["items"]
    changed = rest.patch("/me/notices/choices/quota", {"by_mail": False}).json
    choices = rest.get("/me/notices/choices").json["items"]

    assert [(notice["kind"], notice["tenant"]) for notice in listed] == [("visit", "harbour"), ("quota", "harbour")]
    assert read == {"read": 1}
    assert [notice["kind"] for notice in unread] == ["quota"]
    assert changed == {"kind": "quota", "in_portal": True, "by_mail": False}
    assert changed in choices
    assert rest.patch("/me/notices/choices/security", {"by_mail": False}).status == 422
    assert rest.patch("/me/notices/choices/weather", {"by_mail": False}).status == 404
    assert rest.post("/me/notices/read").json == {"read": 1}


def test_a_token_of_a_project_reads_what_its_owner_was_told_of_that_project(house: House) -> None:
    other = factories.tenant_with_owner("elsewhere")
    factories.join(other.tenant, house.owner, role="viewer")
    tell(house)
    notice_send(other.tenant, [house.owner], NoticeKind.QUOTA, subject="Of another project")
    notice_send(None, [house.owner], NoticeKind.SECURITY, subject="Of the account")
    rest = Rest(Rest(house.token).post(f"{house.url}/tokens", {"name": "mine"}).json["token"])

    listed = rest.get("/me/notices").json["items"]
    read = rest.post("/me/notices/read").json
    choices = rest.get("/me/notices/choices")
    changed = rest.patch("/me/notices/choices/quota", {"by_mail": False})

    assert [notice["tenant"] for notice in listed] == ["harbour"]
    assert read == {"read": 1}
    unread = set(Notice.objects.filter(user=house.owner, read_at=None).values_list("subject", flat=True))
    assert unread == {"Of another project", "Of the account", "A new API token acts as you"}
    assert [(each.status, each.json["code"]) for each in (choices, changed)] == [(403, "limited_token")] * 2


def test_a_limited_token_does_not_read_what_its_owner_was_told(house: House) -> None:
    body = {"name": "narrow", "permissions": ["guest.view"]}
    made = Rest(house.token).post(f"{house.url}/tokens", body).json["token"]

    for answer in (
        Rest(made).get("/me/notices"),
        Rest(made).post("/me/notices/read"),
        Rest(made).patch("/me/notices/choices/quota", {"by_mail": False}),
    ):
        assert (answer.status, answer.json["code"]) == (403, "limited_token")
