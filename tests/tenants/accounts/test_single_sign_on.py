"""Single sign-on against a real provider: who gets in, where to, and who does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.socialaccount.models import SocialAccount, SocialApp
from django.test import Client
from django.utils.html import escape

from portal.core.clock import now
from portal.core.errors import Conflict, Forbidden, Invalid
from tenants.access import session_mark
from tenants.journal.retention import audit_forget
from tenants.models import Member, SignInDomain, User
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.members import member_remove
from tenants.services.roles import role_named
from tenants.services.sign_in import sign_in_domain_create, sign_in_domain_delete
from tenants.services.sign_in_providers import provider_create, provider_delete, provider_edit, provider_switch
from tests import factories
from tests.support.openid import CLIENT, SECRET, Provider, provider
from tests.tenants.accounts.people import SECOND, is_in, signs_in, with_app

pytestmark = pytest.mark.django_db
PEOPLE = {
    "ada": {"email": "ada@acme.test", "email_verified": True, "name": "Ada Lovelace"},
    "capital": {"email": "ADA@Acme.Test", "email_verified": True},
    "unverified": {"email": "eve@acme.test", "email_verified": False},
    "texted": {"email": "eve@acme.test", "email_verified": "false"},
    "unsaid": {"email": "eve@acme.test"},
    "nameless": {"name": "No Address"},
    "stranger": {"email": "eve@other.test", "email_verified": True},
    "below": {"email": "eve@sub.acme.test", "email_verified": True},
    "beside": {"email": "eve@evilacme.test", "email_verified": True},
    "double": {"email": "eve@other.test@acme.test", "email_verified": True},
    "lookalike": {"email": "ada@acme.te\u017ft", "email_verified": True},
    "operator": {"email": "root@acme.test", "email_verified": True},
    "two-faced": {"email": "ada@acme.test", "email_verified": True, "userinfo": {"sub": "somebody else"}},
    "alike": {"email": "root@elsewhere.test", "email_verified": True},
}


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """One provider for all tests here."""
    place = tmp_path_factory.mktemp("provider")
    with provider(place, PEOPLE, callback="http://testserver/account/oidc/acme/login/callback/") as running:
        yield running


@pytest.fixture
def house() -> factories.House:
    return factories.tenant_with_owner("acme")


def app_at(idp: Provider, *, everybody: bool = False) -> SocialApp:
    """The provider, as an operator adds it."""
    return provider_create(
        slug="acme",
        name="Acme",
        issuer=idp.issuer,
        client_id=CLIENT,
        client_secret=SECRET,
        everybody=everybody,
        private=True,
        actor=factories.desk(),
    )


def domain_at(
    app: SocialApp, house: factories.House, *, role: str = "viewer", domain: str = "acme.test"
) -> SignInDomain:
    with tenant_scope(house.tenant):
        return sign_in_domain_create(
            domain, tenant=house.tenant, app=app, role=role_named(role), actor=factories.desk()
        )


def leaves(client: Client, **more: str) -> str:
    """Begin at the portal; where it leads."""
    answer = client.post("/account/sign-on/acme/", more)
    assert answer.status_code == 200, answer.content[:500]
    address = re.search(r'content="0; url=([^"]+)"', answer.content.decode())
    assert address is not None
    return unescape(address.group(1))


def comes(client: Client, idp: Provider, person: str, **more: str) -> Any:
    """All the way round; the portal's answer at the end."""
    back = idp.passes(leaves(client, **more), person)
    return client.get(back.removeprefix("http://testserver"))


def tenants_of(email: str) -> dict[str, str]:
    with every_tenant(why="test"):
        members = Member.objects.filter(user__email=email).select_related("tenant", "role")
        return {member.tenant.slug: member.role.name for member in members}


# --- who gets in ----------------------------------------------------------------------------------------------------
def test_whoever_the_provider_vouches_for_joins_the_domain_s_tenant(
    client: Client, idp: Provider, house: factories.House
) -> None:
    domain_at(app_at(idp), house)

    answer = comes(client, idp, "ada", next="/t/acme/machines/")

    assert answer["Location"] == "/t/acme/machines/"
    assert is_in(client)
    person = User.objects.get(email="ada@acme.test")
    assert (person.name, person.has_usable_password(), person.is_staff) == ("Ada Lovelace", False, False)
    assert tenants_of("ada@acme.test") == {"acme": "viewer"}
    assert client.get("/t/acme/machines/").status_code == 200


def test_the_second_time_it_is_the_same_person(client: Client, idp: Provider, house: factories.House) -> None:
    domain_at(app_at(idp), house)

    comes(client, idp, "ada")
    comes(Client(), idp, "ada")

    assert User.objects.filter(email__endswith="@acme.test", is_staff=False).count() == 1 + 1  # Ada and the owner
    assert SocialAccount.objects.count() == 1


def test_somebody_who_is_here_already_keeps_account_and_role(
    client: Client, idp: Provider, house: factories.House
) -> None:
    domain_at(app_at(idp), house)
    ada = factories.user("ada@acme.test")
    factories.join(house.tenant, ada, role="admin")

    comes(client, idp, "capital")

    assert client.session["_auth_user_id"] == str(ada.pk)
    assert tenants_of("ada@acme.test") == {"acme": "admin"}
    ada.refresh_from_db()
    assert ada.has_usable_password()


def test_a_second_factor_is_asked_for_all_the_same(client: Client, idp: Provider, house: factories.House) -> None:
    domain_at(app_at(idp), house)
    with_app(factories.user("ada@acme.test"))

    assert comes(client, idp, "ada")["Location"] == SECOND
    assert not is_in(client)


def test_whom_the_tenant_took_out_stays_out(client: Client, idp: Provider, house: factories.House) -> None:
    domain_at(app_at(idp), house)
    comes(client, idp, "ada")
    with tenant_scope(house.tenant):
        member_remove(Member.objects.get(user__email="ada@acme.test"), actor=house.actor)
        audit_forget(house.tenant, before=now() + timedelta(days=1))

    comes(Client(), idp, "ada")

    assert tenants_of("ada@acme.test") == {}, "though the log no longer says that they were in it"


def test_the_address_leads_to_its_provider(client: Client, idp: Provider, house: factories.House) -> None:
    domain_at(app_at(idp), house)

    found = client.post("/account/sign-on/", {"email": "Ada@ACME.test"})
    unknown = client.post("/account/sign-on/", {"email": "ada@nowhere.test"})

    assert escape(idp.issuer) in found.content.decode()
    assert "login_hint=" in found.content.decode()
    assert unknown.status_code == 422


def test_a_tenant_s_provider_is_not_named_to_strangers(idp: Provider, house: factories.House) -> None:
    domain_at(app_at(idp), house)
    assert b"Acme" not in Client().get("/account/login/").content
    SocialApp.objects.all().update(settings={"vouches_for": "everybody"})
    assert b"Sign in with Acme" in Client().get("/account/login/").content


# --- who does not ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "person",
    ["unverified", "texted", "unsaid", "nameless", "stranger", "below", "beside", "double", "lookalike"],
)
def test_a_word_that_proves_nothing_opens_nothing(
    client: Client, idp: Provider, house: factories.House, person: str
) -> None:
    domain_at(app_at(idp), house)
    before = User.objects.count()

    answer = comes(client, idp, person)

    assert answer.status_code in (403, 422), answer.status_code
    assert not is_in(client)
    assert User.objects.count() == before
    assert not SocialAccount.objects.exists()


def test_a_tenant_s_provider_reaches_no_account_of_another_domain(
    client: Client, idp: Provider, house: factories.House
) -> None:
    domain_at(app_at(idp), house)
    victim = factories.user("eve@other.test")

    comes(client, idp, "stranger")

    assert not is_in(client)
    assert not SocialAccount.objects.filter(user=victim).exists()


def test_a_tenant_s_provider_reaches_no_operator(client: Client, idp: Provider, house: factories.House) -> None:
    domain_at(app_at(idp), house)
    factories.user("root@acme.test", operator=True)

    assert comes(client, idp, "operator").status_code == 403
    assert not is_in(client)


def test_an_account_that_moved_to_another_address_is_out_of_the_provider_s_reach(
    client: Client, idp: Provider, house: factories.House
) -> None:
    domain_at(app_at(idp), house)
    comes(client, idp, "ada")
    User.objects.filter(email="ada@acme.test").update(email="ada@private.test")
    again = Client()

    assert comes(again, idp, "ada").status_code == 403
    assert not is_in(again)


def test_a_domain_that_is_taken_away_opens_nothing_any_more(
    client: Client, idp: Provider, house: factories.House
) -> None:
    row = domain_at(app_at(idp), house)
    comes(client, idp, "ada")
    sign_in_domain_delete(row, actor=factories.desk())
    again = Client()

    assert comes(again, idp, "ada").status_code == 403
    assert not is_in(again)


def test_the_installation_s_provider_vouches_for_everybody_who_is_here(
    client: Client, idp: Provider, house: factories.House
) -> None:
    app_at(idp, everybody=True)
    operator = factories.user("root@elsewhere.test", operator=True)

    comes(client, idp, "alike")
    stranger = Client()

    assert client.session["_auth_user_id"] == str(operator.pk)
    assert comes(stranger, idp, "stranger").status_code == 403
    assert not is_in(stranger)


def test_an_answer_that_was_not_asked_for_opens_nothing(client: Client, idp: Provider, house: factories.House) -> None:
    """Neither another browser's, nor the same one twice, nor with another state."""
    domain_at(app_at(idp), house)
    victim = Client()
    leaves(victim)
    back = idp.passes(leaves(client), "ada").removeprefix("http://testserver")
    state = parse_qs(urlsplit(back).query)["state"][0]

    victim.get(back)
    assert not is_in(victim)
    client.get(back.replace(state, state[::-1]))
    assert not is_in(client)
    client.get(back)
    assert is_in(client)
    client.post("/account/logout/")
    client.get(back)
    assert not is_in(client)


def test_a_word_that_is_not_verified_reaches_no_account_that_is_here(
    client: Client, idp: Provider, house: factories.House
) -> None:
    """Who may write any address at the provider would become whoever has it here."""
    domain_at(app_at(idp), house)
    victim = factories.user("eve@acme.test")

    assert comes(client, idp, "unverified").status_code == 403

    assert not is_in(client)
    assert not SocialAccount.objects.filter(user=victim).exists()


def test_a_code_that_another_browser_got_opens_nothing(client: Client, idp: Provider, house: factories.House) -> None:
    """Neither does the thief get in with a stolen code, nor is the victim signed in as the thief."""
    domain_at(app_at(idp), house)
    stolen = parse_qs(urlsplit(idp.passes(leaves(Client()), "ada")).query)["code"][0]
    back = idp.passes(leaves(client), "capital").removeprefix("http://testserver")
    own = parse_qs(urlsplit(back).query)["code"][0]

    answer = client.get(back.replace(own, stolen))

    assert "The sign-on did not work" in answer.content.decode()
    assert not is_in(client)


def test_a_token_that_answers_another_question_opens_nothing(
    client: Client, idp: Provider, house: factories.House
) -> None:
    domain_at(app_at(idp), house)
    back = idp.passes(leaves(client), "ada").removeprefix("http://testserver")
    session = client.session
    for state, _at, _provider in session["socialaccount_states"].values():
        state["data"]["nonce"] = "another"
    session.save()

    assert client.get(back).status_code == 403
    assert not is_in(client)


def test_a_provider_that_calls_itself_otherwise_opens_nothing(
    client: Client, idp: Provider, house: factories.House
) -> None:
    """What it says of itself must be what the operator entered, or one provider could speak as another."""
    app = app_at(idp)
    domain_at(app, house)
    app.settings["server_url"] = f"{idp.issuer}/.well-known/openid-configuration"
    app.save()

    assert comes(client, idp, "ada").status_code == 403
    assert not is_in(client)


def test_facts_of_another_person_than_the_token_s_open_nothing(
    client: Client, idp: Provider, house: factories.House
) -> None:
    domain_at(app_at(idp), house)

    assert comes(client, idp, "two-faced").status_code == 403
    assert not is_in(client)


def test_a_provider_that_is_switched_off_signs_nobody_in_and_out_who_came_by_it(
    client: Client, idp: Provider, house: factories.House, revoked: list[dict[str, Any]]
) -> None:
    app = app_at(idp)
    domain_at(app, house)
    comes(client, idp, "ada")
    ada, by_password, half_way = User.objects.get(email="ada@acme.test"), Client(), Client()
    ada.set_password(factories.PASSWORD)
    ada.save()
    client.logout()
    comes(client, idp, "ada")
    signs_in(by_password, ada)
    back = idp.passes(leaves(half_way), "ada").removeprefix("http://testserver")
    assert client.get("/account/profile/").status_code == by_password.get("/account/profile/").status_code == 200
    mark = session_mark(client.session.session_key)

    provider_switch(app, on=False, actor=factories.desk())

    assert client.get("/account/profile/").status_code == 302
    assert by_password.get("/account/profile/").status_code == 200
    assert mark in [said["session"] for said in revoked], "consoles and live pages close"
    assert half_way.get(back).status_code == 404
    assert not is_in(half_way)
    assert Client().post("/account/sign-on/acme/").status_code == 404
    assert Client().post("/account/sign-on/", {"email": "ada@acme.test"}).status_code == 422
    provider_switch(app, on=True, actor=factories.desk())
    comes(client, idp, "ada")
    assert is_in(client)


def test_nothing_joins_an_identity_to_somebody_else_s_account(
    client: Client, idp: Provider, house: factories.House
) -> None:
    domain_at(app_at(idp), house)
    victim = factories.user()
    client.force_login(victim, backend="allauth.account.auth_backends.AuthenticationBackend")

    comes(client, idp, "ada", process="connect")

    assert not SocialAccount.objects.filter(user=victim).exists()
    client.force_login(victim, backend="allauth.account.auth_backends.AuthenticationBackend")
    for method in (client.get, client.post):
        assert method("/account/oidc/acme/login/?process=connect")["Location"] == "/account/login/"


def test_a_provider_that_is_away_is_said_to_be(client: Client, house: factories.House) -> None:
    app = provider_create(
        slug="acme", name="Acme", issuer="http://127.0.0.1:9", client_id="x", client_secret="y", private=True,
        actor=factories.desk(),
    )  # fmt: skip
    domain_at(app, house)

    assert client.post("/account/sign-on/acme/").status_code == 503
    assert client.post("/account/sign-on/nobody/").status_code == 404


# --- operators' part ------------------------------------------------------------------------------------------------
def test_the_client_secret_is_sealed(idp: Provider) -> None:
    app = app_at(idp)

    stored = SocialApp.objects.filter(pk=app.pk).values().get()
    assert SECRET not in str(stored)


@pytest.mark.parametrize(
    "domain", ["", "acme", "@acme.test", "acme.test.", "a b.test", "*.acme.test", "acme.te\u017ft", "1.2.3.4"]
)
def test_what_is_no_domain_is_refused(idp: Provider, house: factories.House, domain: str) -> None:
    with pytest.raises(Invalid):
        domain_at(app_at(idp), house, domain=domain)


@pytest.mark.parametrize(
    "issuer", ["", "acme.test", "http://acme.test", "ftp://acme.test", "https://acme.test/?x=1", "file:///etc"]
)
def test_what_is_no_issuer_is_refused(issuer: str) -> None:
    with pytest.raises(Invalid) as refusal:
        provider_create(slug="a", name="A", issuer=issuer, client_id="x", client_secret="y", actor=factories.desk())
    assert [error.pointer for error in refusal.value.errors] == ["/issuer"]


def test_a_domain_belongs_to_one_tenant(idp: Provider, house: factories.House) -> None:
    app = app_at(idp)
    domain_at(app, house)

    with pytest.raises(Conflict) as refusal:
        domain_at(app, factories.tenant_with_owner(), domain="ACME.test")
    assert refusal.value.code == "domain_taken"


def test_only_operators_say_who_vouches_for_whom(idp: Provider, house: factories.House) -> None:
    app = app_at(idp)
    row = domain_at(app, house)

    with tenant_scope(house.tenant):
        with pytest.raises(Forbidden):
            sign_in_domain_create("b.test", tenant=house.tenant, app=app, role=role_named("owner"), actor=house.actor)
        with pytest.raises(Forbidden):
            sign_in_domain_delete(row, actor=house.actor)
        with pytest.raises(Forbidden):
            provider_delete(app, actor=house.actor)
        with pytest.raises(Forbidden):
            provider_switch(app, on=False, actor=house.actor)
        with pytest.raises(Forbidden):
            provider_edit(app, name="x", client_id="x", private=True, actor=house.actor)


def test_a_provider_in_use_stays_and_one_that_goes_takes_its_identities_along(
    client: Client, idp: Provider, house: factories.House
) -> None:
    app = app_at(idp)
    row = domain_at(app, house)
    comes(client, idp, "ada")
    assert client.get("/account/profile/").status_code == 200

    with pytest.raises(Conflict):
        provider_delete(app, actor=factories.desk())
    sign_in_domain_delete(row, actor=factories.desk())
    provider_delete(app, actor=factories.desk())

    assert client.get("/account/profile/").status_code == 302
    assert not SocialAccount.objects.exists(), "whoever gets the id next must not inherit them"
    assert User.objects.filter(email="ada@acme.test").exists()
