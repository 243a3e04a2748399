"""Operators set up single sign-on on their site: providers, whose secrets nobody reads again, and mail domains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.socialaccount.models import SocialApp
from django.contrib.admin.models import LogEntry
from django.test import Client

from portal.core.sealed import unseal
from tenants.models import AuditEntry, InstallationEntry, SignInDomain
from tenants.scoping import every_tenant
from tests.factories import House
from tests.portal.admin.doing import add, address, do, said
from tests.support.openid import CLIENT, SECRET, Provider, provider

CALLBACK = "http://testserver/account/oidc/acme/login/callback/"


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("provider"), {}, callback=CALLBACK) as running:
        yield running


def wish(idp: Provider, **more: Any) -> dict[str, Any]:
    """What the form asks for, filled in."""
    right = {"slug": "acme", "name": "Acme", "issuer": idp.issuer, "client_id": CLIENT, "client_secret": SECRET}
    return {**right, "private": "on", **more}


def entries(action: str) -> list[dict[str, Any]]:
    return list(InstallationEntry.objects.filter(action=action).order_by("seq").values_list("changes", flat=True))


def test_a_provider_is_added_and_its_secret_is_not_to_be_seen_again(desk: Client, idp: Provider) -> None:
    answer = add(desk, SocialApp, **wish(idp, issuer=f"{idp.issuer}/.well-known/openid-configuration"))

    app = SocialApp.objects.get()
    assert said(answer)[0].endswith("/account/oidc/acme/login/callback/.")
    assert app.settings["server_url"] == idp.issuer
    assert unseal(app.settings["sealed_secret"]) == SECRET
    pages = [desk.get(address(app)), desk.get(address(app, "deed", "edit")), answer]
    assert all(SECRET not in page.content.decode() for page in pages)
    assert 'type="password"' in pages[1].content.decode()
    assert entries("sign_in_provider.create") == [
        {"provider": "acme", "issuer": idp.issuer, "everybody": False, "private": True}
    ]
    assert SECRET not in str(list(LogEntry.objects.values()))


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ({"issuer": "https://127.0.0.1"}, "issuer", "Nobody answers there as a provider does."),
        ({"issuer": "https://127.0.0.1:9", "private": ""}, "issuer", "private network"),
        ({"issuer": "https://10.0.0.1", "private": ""}, "issuer", "private network"),
        ({"issuer": "https://[::ffff:169.254.169.254]", "private": ""}, "issuer", "private network"),
        ({"issuer": "https://169.254.169.254"}, "issuer", "No provider can have this address."),
        ({"issuer": "ftp://127.0.0.1"}, "issuer", "An https address is needed."),
        ({"slug": "Not Good"}, "slug", "Use small letters"),
        ({"client_secret": ""}, "client_secret", "required"),
    ],
    ids=["silent", "loopback", "private", "mapped", "metadata", "scheme", "id", "secret"],
)
def test_a_provider_that_cannot_be_is_refused_at_its_field(
    desk: Client, idp: Provider, wrong: dict[str, str], field: str, words: str
) -> None:
    answer = add(desk, SocialApp, **wish(idp, **wrong))

    assert words in str(answer.context["form"].errors[field])
    assert SECRET not in answer.content.decode()
    assert not SocialApp.objects.exists()


def test_a_provider_is_changed_and_an_empty_secret_keeps_the_present_one(desk: Client, idp: Provider) -> None:
    add(desk, SocialApp, **wish(idp))
    app = SocialApp.objects.get()

    do(desk, app, "edit", name="Acme Corp", client_id=CLIENT, client_secret="", private="on")
    app.refresh_from_db()
    kept = unseal(app.settings["sealed_secret"])
    do(desk, app, "edit", name="Acme Corp", client_id=CLIENT, client_secret="another", private="on")
    app.refresh_from_db()

    assert (app.name, kept, unseal(app.settings["sealed_secret"])) == ("Acme Corp", SECRET, "another")
    assert app.settings["server_url"] == idp.issuer
    assert entries("sign_in_provider.edit") == [
        {"provider": "acme", "name": ["Acme", "Acme Corp"]},
        {"provider": "acme", "client_secret": "renewed"},
    ]


def test_a_provider_is_asked_whether_it_is_there(desk: Client, idp: Provider) -> None:
    add(desk, SocialApp, **wish(idp))
    app = SocialApp.objects.get()

    there = do(desk, app, "look")
    app.settings["server_url"] = "http://127.0.0.1:9"
    app.save()
    away = do(desk, app, "look")

    assert said(there) == ["Acme answers as it should."]
    assert "Nobody answers there" in away.content.decode()


def test_a_provider_is_switched_off_and_on_and_removed_when_no_domain_names_it(
    desk: Client, idp: Provider, house: House
) -> None:
    add(desk, SocialApp, **wish(idp, everybody="on"))
    app = SocialApp.objects.get()
    assert "Sign in with Acme" in Client().get("/account/login/").content.decode()

    assert "is on already" in desk.get(address(app, "deed", "switch_on")).content.decode()
    do(desk, app, "switch_off")
    assert "is off already" in desk.get(address(app, "deed", "switch_off")).content.decode()
    assert "Sign in with Acme" not in Client().get("/account/login/").content.decode()
    assert "switched off" in desk.get(address(app)).content.decode()
    do(desk, app, "switch_on")
    assert "Sign in with Acme" in Client().get("/account/login/").content.decode()
    add(desk, SignInDomain, domain="acme.test", tenant="harbour", provider="acme", role="viewer")
    refused = do(desk, app, "remove")
    assert "Delete the domains first." in refused.content.decode()
    do(desk, SignInDomain.objects.get(), "remove")
    do(desk, app, "remove")

    assert not SocialApp.objects.exists()
    assert [entry["on"] for entry in entries("sign_in_provider.edit")] == [[True, False], [False, True]]
    assert len(entries("sign_in_provider.delete")) == 1


def test_a_mail_domain_is_let_in_changed_and_let_in_no_more(desk: Client, idp: Provider, house: House) -> None:
    add(desk, SocialApp, **wish(idp))
    nobody = add(desk, SignInDomain, domain="acme.test", tenant="nowhere", provider="acme", role="viewer")
    odd = add(desk, SignInDomain, domain="not a domain", tenant="harbour", provider="acme", role="viewer")
    king = add(desk, SignInDomain, domain="acme.test", tenant="harbour", provider="acme", role="king")
    add(desk, SignInDomain, domain="Acme.test", tenant="harbour", provider="acme", role="viewer")
    row = SignInDomain.objects.get()

    do(desk, row, "edit", role="member")
    row.refresh_from_db()
    do(desk, row, "remove")

    assert "There is no such tenant." in str(nobody.context["form"].errors["tenant"])
    assert "domain" in odd.context["form"].errors
    assert "role" in king.context["form"].errors
    assert (row.domain, row.tenant, row.role.name) == ("acme.test", house.tenant, "member")
    assert not SignInDomain.objects.exists()
    with every_tenant(why="test"):
        told = AuditEntry.objects.filter(action__startswith="sign_in_domain", tenant=house.tenant).order_by("seq")
        assert [entry.action.split(".")[1] for entry in told] == ["create", "edit", "delete"]
