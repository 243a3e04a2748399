"""Single sign-on against a real provider: who gets in, where to, and what operators have to do with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from allauth.socialaccount.models import SocialAccount, SocialApp
from django.test import Client
from django.utils.html import escape

from portal.core.clock import now
from portal.core.errors import Conflict, Forbidden, Invalid
from tenants.journal.retention import audit_forget
from tenants.models import Member, User
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.members import member_remove
from tenants.services.roles import role_named
from tenants.services.sign_in import sign_in_domain_create, sign_in_domain_delete
from tenants.services.sign_in_providers import provider_create, provider_delete, provider_edit, provider_switch
from tests import factories
from tests.support.openid import SECRET, Provider, provider
from tests.tenants.accounts.people import SECOND, is_in, with_app
from tests.tenants.accounts.signing_on import PEOPLE, app_at, comes, domain_at

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
