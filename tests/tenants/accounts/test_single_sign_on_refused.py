"""What single sign-on does not let in: words that prove nothing, and words about somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.socialaccount.models import SocialAccount
from django.test import Client

from tenants.access import session_mark
from tenants.models import User
from tenants.services.sign_in import sign_in_domain_delete
from tenants.services.sign_in_providers import provider_create, provider_switch
from tests import factories
from tests.support.openid import Provider, provider
from tests.tenants.accounts.people import is_in, signs_in
from tests.tenants.accounts.signing_on import PEOPLE, app_at, comes, domain_at, leaves

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """One provider for all tests here."""
    place = tmp_path_factory.mktemp("provider")
    with provider(place, PEOPLE, callback="http://testserver/account/oidc/acme/login/callback/") as running:
        yield running


@pytest.fixture
def house() -> factories.House:
    return factories.tenant_with_owner("acme")


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
