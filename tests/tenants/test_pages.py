"""Pages of a project and its people."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tenants.forms.roles import REACH
from tenants.models import ApiToken, Member
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.tenants import tenant_suspend
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.tenants.accounts.people import with_app

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("harbour")


@pytest.fixture
def client(house: House) -> Client:
    return browser(house.owner)


def url(house: House, name: str, *args: Any) -> str:
    return reverse(f"tenants:{name}", args=[house.tenant.slug, *args])


def member(house: House, person: Any) -> Member:
    with tenant_scope(house.tenant):
        found: Member = Member.objects.get(user=person)
        return found


def test_the_only_project_opens_by_itself(house: House, client: Client) -> None:
    assert client.get("/")["Location"] == "/t/harbour/"


def test_several_projects_are_a_choice(house: House, client: Client) -> None:
    other = factories.tenant_with_owner("garden")
    factories.join(other.tenant, house.owner, role="viewer")

    text = client.get("/").content.decode()

    assert "/t/harbour/" in text
    assert "/t/garden/" in text
    assert "Viewer" in text


@pytest.mark.parametrize(
    ("path", "here"),
    [
        ("/account/notices/", "Notices"),
        ("/account/notices/choices/", "Account"),
        ("/account/password/change/", "Account"),
    ],
)
def test_outside_any_project_the_sidebar_leads_to_ones_own_pages(client: Client, path: str, here: str) -> None:
    page = client.get(path).content.decode()

    sidebar = page[page.index('<ul class="gh-nav">') : page.index("</ul>")]
    links = re.findall(r'<a href="([^"]*)"( aria-current="page")?>.*?</svg>([^<]*)</a>', sidebar)
    assert [url for url, _current, _words in links] == ["/", "/account/notices/", "/account/profile/"]
    assert [words for _url, current, words in links if current] == [here]


def test_an_operator_goes_to_the_operators_site() -> None:
    person, _token = factories.operator()

    assert browser(person).get("/")["Location"] == "/operator/"


def test_who_belongs_nowhere_is_told_so() -> None:
    assert "You belong to no project yet." in browser(factories.user()).get("/").content.decode()


def test_somebody_is_given_a_role_and_taken_out(house: House, client: Client) -> None:
    person = factories.user("mara@example.test")
    factories.join(house.tenant, person, role="viewer")
    row = member(house, person)

    client.post(url(house, "member_role", row.pk), {"role": "admin"})
    role = member(house, person).role.name
    asked = client.post(url(house, "member_remove", row.pk))
    still = member(house, person)
    client.post(url(house, "member_remove", row.pk), {"confirmed": "yes"})

    assert role == "admin"
    assert "Remove mara@example.test?" in asked.content.decode()
    assert still.pk == row.pk
    with tenant_scope(house.tenant):
        assert not Member.objects.filter(user=person).exists()


def test_the_project_is_handed_over_in_one_step(house: House, client: Client) -> None:
    person = factories.user("mara@example.test")
    factories.join(house.tenant, person, role="viewer")
    address = url(house, "member_transfer", member(house, person).pk)

    asked = client.get(address)
    unconfirmed = client.post(address)
    done = client.post(address, {"confirmed": "yes"})
    again = client.post(address, {"confirmed": "yes"})

    assert "Make mara@example.test the owner?" in asked.content.decode()
    assert unconfirmed.status_code == 200
    assert done.status_code == 302
    assert (member(house, person).role.name, member(house, house.owner).role.name) == ("owner", "admin")
    assert again.status_code == 403


def test_what_is_shown_of_people_is_refreshed_by_itself(house: House, client: Client) -> None:
    part = client.get(url(house, "member_list") + "?part=people", headers={"HX-Request": "true"}).content.decode()

    assert part.lstrip().startswith('<div class="stack" id="people"')
    assert "<html" not in part


def test_an_admin_is_offered_no_owner(house: House) -> None:
    admin = factories.user()
    factories.join(house.tenant, admin, role="admin")
    client = browser(admin)

    choices = client.get(url(house, "member_list")).context["choices"]
    forced = client.post(url(house, "invitation_create"), {"email": "x@example.test", "role": "owner"})
    demoted = client.post(url(house, "member_role", member(house, house.owner).pk), {"role": "viewer"})

    assert "owner" not in [choice["value"] for choice in choices]
    assert forced.status_code == 422
    assert demoted.status_code == 403


def test_the_last_owner_cannot_leave_and_others_can(house: House, client: Client) -> None:
    guest = factories.user()
    factories.join(house.tenant, guest, role="viewer")

    sure = {"confirmed": "yes"}
    stays = client.post(url(house, "member_remove", member(house, house.owner).pk), sure)
    leaves = browser(guest).post(url(house, "member_remove", member(house, guest).pk), sure)

    assert stays.status_code == 409
    assert "A project needs an owner." in stays.content.decode()
    assert leaves["Location"] == "/"


def test_a_token_is_shown_once_and_opens_what_its_maker_may(house: House, client: Client) -> None:
    form = {"name": "backup", "scope": "look", "expires": "30"}

    made = client.post(url(house, "token_create"), form)
    secret = made.context["new_token"]["secret"]
    again = client.get(url(house, "token_list")).content.decode()
    guests = Client().get("/api/v1/tenants/harbour/guests", headers={"Authorization": f"Bearer {secret}"})

    assert secret in made.content.decode()
    assert "no-store" in made["Cache-Control"]
    assert secret not in again
    assert "backup" in again
    assert guests.status_code == 200
    token = ApiToken.objects.get(name="backup")
    assert Permission.GUEST_POWER not in token.permissions
    assert (token.tenant, token.expires_at is not None) == (house.tenant, True)


def test_boxes_to_tick_are_boxes_and_what_holds_them_is_not(house: House, client: Client) -> None:
    """The class makes a square of 1 rem: on the list of all permissions it made one unreadable column."""
    page = client.get(url(house, "token_list")).content.decode()

    classed = re.findall(r'<(\w+)[^>]*class="form-check-input"', page)
    assert len(classed) > 20
    assert set(classed) == {"input"}


def test_a_token_ends_at_once(house: House, client: Client) -> None:
    made = client.post(url(house, "token_create"), {"name": "short", "scope": "all", "expires": "0"})
    secret = made.context["new_token"]["secret"]

    client.post(url(house, "token_revoke", ApiToken.objects.get(name="short").pk), {"confirmed": "yes"})

    answer = Client().get("/api/v1/tenants/harbour/guests", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 401


def test_the_project_is_renamed_by_who_may(house: House, client: Client) -> None:
    viewer = factories.user()
    factories.join(house.tenant, viewer, role="viewer")

    refused = browser(viewer).post(url(house, "settings"), {"name": "Mine"})
    empty = client.post(url(house, "settings"), {"name": " "})
    done = client.post(url(house, "settings"), {"name": "Harbour Studio"})

    assert (refused.status_code, empty.status_code, done.status_code) == (403, 422, 302)
    text = client.get(url(house, "audit_list")).content.decode()
    assert "name: Harbour → Harbour Studio" in text


def test_the_log_is_searched_and_goes_on(house: House, client: Client) -> None:
    for number in range(60):
        client.post(url(house, "settings"), {"name": f"Name {number}"})

    first = client.get(url(house, "audit_list"))
    second = client.get(url(house, "audit_list") + first.context["page"]["next_url"])
    found = client.get(url(house, "audit_list") + "?q=member.add").context["entries"]

    assert len(first.context["entries"]) == 50
    assert not {entry.pk for entry in first.context["entries"]} & {entry.pk for entry in second.context["entries"]}
    assert {entry.action for entry in found} == {"member.add"}


def test_every_account_page_is_served(client: Client) -> None:
    for path in ("/account/password/change/", "/account/logout/"):
        assert client.get(path).status_code == 200
    assert Client().get("/account/login/").status_code == 200


# --- asked first, and said in time ----------------------------------------------------------------------------------
def test_a_token_is_asked_about_before_it_ends(house: House, client: Client) -> None:
    client.post(url(house, "token_create"), {"name": "short", "scope": "all", "expires": "0"})
    token = ApiToken.objects.get(name="short")
    address = url(house, "token_revoke", token.pk)

    asked, clicked = client.get(address), client.post(address)

    for page in (asked, clicked):
        assert "Revoke short?" in page.content.decode()
        assert f"({token.prefix}…) is refused from then on" in page.content.decode()
    token.refresh_from_db()
    assert token.revoked_at is None
    part = client.get(address, headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith("<dialog")


def test_a_second_factor_of_everybody_is_asked_about_first(house: House, client: Client) -> None:
    factories.join(house.tenant, factories.user(), role="viewer")
    with_app(house.owner)
    address = url(house, "second_factor")

    asked = client.get(address).content.decode()
    client.post(address, {"required": "on"})
    house.tenant.refresh_from_db()
    before = house.tenant.require_second_factor
    client.post(address, {"required": "on", "confirmed": "yes"})
    house.tenant.refresh_from_db()

    assert "1 member has none. Their open pages and consoles close at once" in asked
    assert (before, house.tenant.require_second_factor) == (False, True)


@pytest.mark.parametrize("page", ["overview", "guest_list"])
def test_a_suspended_project_offers_no_first_machine(house: House, client: Client, page: str) -> None:
    with tenant_scope(house.tenant):
        tenant_suspend(house.tenant, reason="Unpaid.", actor=factories.desk())

    text = client.get(reverse(f"vms:{page}", args=[house.tenant.slug])).content.decode()

    assert "Create your first virtual machine" not in text
    assert "This project is suspended. None can be created in it now." in text


def test_a_role_that_allows_nothing_is_refused_in_words(house: House, client: Client) -> None:
    answer = client.post(
        url(house, "role_create"), {"name": "empty", "tags": "web", "guest.view": "", "guest.power": ""}
    )

    assert answer.status_code == 422
    assert "A role allows something: choose at least one permission." in answer.content.decode()


def test_a_role_is_built_in_the_order_of_thought(house: House, client: Client) -> None:
    page = client.get(url(house, "role_create")).content.decode()

    assert page.index('id="id_name"') < page.index('id="id_guest.view"') < page.index('id="id_tags"')
    assert page.count("(optional)") == 1, "the tags; selects have a value"
    assert [label for _value, label in REACH] == ["No", "On tagged machines", "On every machine"]
    assert "(optional)" not in client.get(url(house, "token_list")).content.decode().split("Narrow it further")[0]


def test_what_was_said_of_tokens_roles_and_quota_stands_in_the_log(house: House, client: Client) -> None:
    client.post(
        url(house, "token_create"), {"name": "nightly", "scope": "some", "permissions": "guest.view", "expires": "0"}
    )
    client.post(url(house, "role_create"), {"name": "watch", "guest.view": "tagged", "tags": "web db"})
    client.post(url(house, "quota_ask"), {"guests": "99", "reason": "A sale."})
    client.post(url(house, "token_rotate", ApiToken.objects.get(name="nightly").pk))

    told = {entry.action: entry.detail for entry in client.get(url(house, "audit_list")).context["entries"]}

    token = ApiToken.objects.get(name="nightly")
    assert told["token.create"] == f"permissions: guest.view; prefix: {token.old_prefix}"
    assert told["token.rotate"] == f"prefix: {token.old_prefix} → {token.prefix}"
    assert told["role.create"] == "tagged: guest.view; tags: db, web"
    assert told["quota.ask"] == "A sale. · wanted: Machines 99"
