"""A project or the installation asks for a second factor: who is out without one, and what people are told."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.core.errors import Conflict
from tenants.access import actor_for_token
from tenants.journal.models import AuditEntry
from tenants.models import Letter, Notice, Tenant
from tenants.policy import BUILT_IN_ROLES
from tenants.scoping import tenant_scope
from tenants.services.second_factor import has_second_factor, tenant_require_second_factor
from tests import factories
from tests.tenants.accounts.people import (
    PASSWORD,
    SECOND,
    code,
    confirms,
    factors,
    is_in,
    recovery_codes,
    signs_in,
    with_app,
    with_passkey,
)

pytestmark = pytest.mark.django_db


def asking(house: factories.House) -> Tenant:
    """The tenant, asking for a second factor from now on."""
    with tenant_scope(house.tenant):
        return tenant_require_second_factor(house.tenant, required=True, actor=factories.desk())


def test_a_project_that_asks_opens_to_those_who_have_one(client: Client) -> None:
    house = factories.tenant_with_owner()
    asking(house)
    page = f"/t/{house.tenant.slug}/"
    signs_in(client, house.owner)

    led = client.get(page)
    sent = client.post(f"{page}settings/", {"name": "Mine"})
    part = client.get(page, headers={"HX-Request": "true"})

    assert led["Location"] == "/account/2fa/?asked=1"
    assert client.get(led["Location"]).status_code == 200
    assert (sent.status_code, part.status_code) == (403, 403)
    assert b"second_factor_required" in sent.content
    with_app(house.owner)
    assert client.get(page).status_code == 200


def test_tokens_of_people_without_one_are_refused_and_say_why(client: Client) -> None:
    house = factories.tenant_with_owner()
    asking(house)

    def ask(path: str) -> Any:
        return client.get(f"{house.url}{path}", headers={"Authorization": f"Bearer {house.token}"})

    for path in ("", "/guests", "/members", "/quota", "/events"):
        answer = ask(path)
        assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_required"), path
    with_app(house.owner)
    assert ask("/guests").status_code == 200


def test_other_projects_of_the_same_person_stay_open(client: Client) -> None:
    strict, easy = factories.tenant_with_owner(), factories.tenant_with_owner()
    factories.join(easy.tenant, strict.owner, role="viewer")
    asking(strict)
    signs_in(client, strict.owner)

    assert client.get(f"/t/{easy.tenant.slug}/").status_code == 200
    assert client.get(f"/t/{strict.tenant.slug}/").status_code == 302


def test_asking_closes_what_those_without_have_open(revoked: list[dict[str, Any]]) -> None:
    house = factories.tenant_with_owner()
    bare, _token = factories.member_with(house.tenant, BUILT_IN_ROLES["member"])
    operator = factories.user(operator=True)
    with_app(house.owner)
    with tenant_scope(house.tenant):
        tenant = tenant_require_second_factor(house.tenant, required=True, actor=house.actor)
        again = tenant_require_second_factor(tenant, required=True, actor=house.actor)
        entries = AuditEntry.objects.filter(action="tenant.require_second_factor")

        assert again.version == tenant.version == 2
        assert [entry.changes for entry in entries] == [{"require_second_factor": [False, True]}]
    told = {(said["user"].pk, said["tenant"].pk) for said in revoked}
    assert (bare.pk, tenant.pk) in told
    assert (operator.pk, tenant.pk) in told
    assert (house.owner.pk, tenant.pk) not in told


def test_nobody_locks_themselves_out_by_asking() -> None:
    house = factories.tenant_with_owner()

    with tenant_scope(house.tenant), pytest.raises(Conflict) as refusal:
        tenant_require_second_factor(house.tenant, required=True, actor=house.actor)
    assert refusal.value.code == "own_second_factor_first"


def test_giving_the_last_factor_up_closes_what_is_open_where_it_is_asked_for(
    client: Client, revoked: list[dict[str, Any]]
) -> None:
    strict, easy = factories.tenant_with_owner(), factories.tenant_with_owner()
    factories.join(easy.tenant, strict.owner, role="viewer")
    asking(strict)
    secret = with_app(strict.owner)
    signs_in(client, strict.owner)
    client.post(SECOND, {"code": code(secret)})
    client.post("/account/2fa/reauthenticate/", {"code": code(secret, ahead=1)})
    revoked.clear()

    client.post("/account/2fa/totp/deactivate/")

    assert not has_second_factor(strict.owner)
    assert [(said["user"], said["tenant"].pk) for said in revoked] == [(strict.owner, strict.tenant.pk)]


def test_recovery_codes_alone_are_no_second_factor() -> None:
    person = factories.user()
    recovery_codes(person)

    assert not has_second_factor(person)


def test_no_project_locks_operators_out(client: Client) -> None:
    house = factories.tenant_with_owner()
    asking(house)
    _person, token = factories.operator()

    answer = client.patch(
        house.url,
        {"require_second_factor": False},
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )

    assert (answer.status_code, answer.json()["require_second_factor"]) == (200, False)


def test_the_setting_is_a_page_s_and_rest_s(client: Client) -> None:
    house = factories.tenant_with_owner()
    page = f"/t/{house.tenant.slug}/settings/"
    signs_in(client, house.owner)

    refused = client.post(f"{page}second-factor/", {"required": "on", "confirmed": "yes"}, follow=True)
    assert "this would lock you out" in refused.content.decode()
    rest = client.patch(
        house.url,
        {"require_second_factor": True},
        content_type="application/json",
        headers={"Authorization": f"Bearer {house.token}"},
    )
    assert (rest.status_code, rest.json()["code"]) == (409, "own_second_factor_first")

    with_app(house.owner)
    client.post(f"{page}second-factor/", {"required": "on", "confirmed": "yes"})
    house.tenant.refresh_from_db()
    assert house.tenant.require_second_factor


@pytest.mark.parametrize(
    "credential",
    [
        "", "{}", "[]", "null", "1", "\"x\"", '{"id":"x"}', '{"id":"eA","rawId":"eA","response":{}}',
        '{"id":"eA","rawId":"eA","type":"public-key","response":{"clientDataJSON":"eA","authenticatorData":"eA","signature":"eA"}}',
        '{"id":[],"rawId":{},"response":[]}', '{"id":"eA","rawId":"eA","response":{"userHandle":"eA"},"type":"public-key"}',
        '{"id":"eA","rawId":"eA","response":{"userHandle":12},"type":"public-key"}',
    ],
)  # fmt: skip
def test_what_is_no_passkey_is_refused_without_a_fault(client: Client, credential: str) -> None:
    person = factories.user()
    with_app(person)
    client.get("/account/2fa/webauthn/login/", headers={"Accept": "application/json"})
    assert client.post("/account/2fa/webauthn/login/", {"credential": credential}).status_code == 302
    signs_in(client, person)
    client.get(SECOND)
    assert client.post(SECOND, {"credential": credential}).status_code == 200
    assert not is_in(client)

    inside = factories.user()
    client = Client()
    signs_in(client, inside)
    confirms(client)
    client.get("/account/2fa/webauthn/add/")
    assert client.post("/account/2fa/webauthn/add/", {"name": "x", "credential": credential}).status_code == 200
    assert factors(inside) == set()


def test_changes_of_an_account_are_told(client: Client) -> None:
    person = factories.user()
    signs_in(client, person)

    client.post(
        "/account/password/change/", {"oldpassword": PASSWORD, "password1": "z1 z2 z3 z4", "password2": "z1 z2 z3 z4"}
    )

    assert list(Notice.objects.filter(user=person).values_list("subject", flat=True)) == ["Your password was changed"]
    assert Letter.objects.filter(to=person.email, subject="Your password was changed").count() == 1


def test_operators_can_be_asked_too(client: Client, settings: Any) -> None:
    person, token = factories.operator()
    settings.OPERATORS_NEED_SECOND_FACTOR = True
    signs_in(client, person)

    assert client.get("/operator/")["Location"] == "/account/2fa/?asked=1"
    actor = actor_for_token(token, None)
    assert actor is not None
    assert not actor.permissions
    refused = client.get("/api/v1/tenants", headers={"Authorization": f"Bearer {token}"})
    assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")
    with_app(person)
    assert client.get("/operator/").status_code == 200
    assert client.get("/api/v1/tenants", headers={"Authorization": f"Bearer {token}"}).status_code == 200


@pytest.mark.parametrize(
    ("has", "shown", "hidden"),
    [
        ({"totp"}, ["authenticator app", 'name="code"'], ["Use a passkey", "recovery codes"]),
        ({"webauthn"}, ["Use a passkey"], ["authenticator app", 'name="code"', "recovery codes"]),
        ({"webauthn", "codes"}, ["Use a passkey", "recovery codes", 'name="code"'], ["authenticator app"]),
        ({"totp", "webauthn", "codes"}, ["Use a passkey", "authenticator app", "recovery codes"], []),
    ],
    ids=["an app", "a passkey", "a passkey and codes", "all"],
)
def test_the_second_step_offers_what_somebody_has(
    client: Client, has: set[str], shown: list[str], hidden: list[str]
) -> None:
    person = factories.user()
    if "totp" in has:
        with_app(person)
    if "webauthn" in has:
        with_passkey(person)
    if "codes" in has:
        recovery_codes(person)
    signs_in(client, person)

    page = client.get(SECOND).content.decode()

    assert [each for each in shown if each not in page] == []
    assert [each for each in hidden if each in page] == []


@pytest.mark.parametrize("page", ["/account/password/change/", "/account/password/set/"])
def test_password_rules_are_one_calm_line(client: Client, page: str) -> None:
    person = factories.user()
    signs_in(client, person)
    if "set" in page:
        person.set_unusable_password()
        person.save()
        client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")

    text = client.get(page).content.decode()

    assert "At least 10 characters, not a common password." in text
    assert "can’t be" not in text
    assert "At most 1024" not in text
