"""Whatever changes somebody's account, on our pages or the accounts library's, is in the installation's log, and no secret."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn import forms as passkeys
from allauth.socialaccount.models import SocialAccount, SocialApp
from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tenants.journal.chain import chain_verify
from tenants.models import FailedSignIn, InstallationEntry, User
from tenants.services.account_log import BATCH, failures_note
from tenants.services.people import person_make
from tests import factories
from tests.architecture.doors import ROUTES
from tests.tenants.accounts.people import (
    LOGIN,
    PASSWORD,
    SECOND,
    code,
    confirms,
    recovery_codes,
    signs_in,
    with_app,
    wrong_code,
)
from tests.tenants.accounts.test_password_reset import NEW, asks, code_of, link_of, opens

pytestmark = pytest.mark.django_db
NUMBER = "walk-0000-0001"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
HEADERS = {"X-Request-Id": NUMBER, "User-Agent": AGENT}
type Deed = Callable[[Client, User], list[str] | None]
"""Does one thing to the person's account; answers the secrets that were in it, besides the passwords."""


@pytest.fixture(autouse=True)
def untried() -> None:
    cache.clear()


def posts(path: str, **wish: str) -> Deed:
    """Somebody signed in, who has just said their password again, sends this."""

    def deed(client: Client, person: User) -> None:
        inside(client, person)
        assert client.post(path, wish).status_code == 302

    return deed


def inside(client: Client, person: User) -> None:
    signs_in(client, person)
    confirms(client)


def fails(client: Client, person: User) -> None:
    signs_in(client, person, "wrong")
    failures_note()


def leaves(client: Client, person: User) -> None:
    signs_in(client, person)
    client.post("/account/logout/")


def sets_a_first_password(client: Client, person: User) -> None:
    person = person_make(email="sso@example.test", password=None)
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.post("/account/password/set/", {"password1": NEW, "password2": NEW}).status_code == 302


def resets(client: Client, person: User) -> list[str]:
    asks(person.email)
    link = link_of(person)
    opens(link, headers=HEADERS)
    return [link.rstrip("/").rpartition("-")[2]]


def moves(client: Client, person: User) -> list[str]:
    inside(client, person)
    client.post("/account/email/", {"action_add": "", "email": "new@example.test"})
    sent = code_of("new@example.test")
    client.post("/account/confirm-email/", {"code": sent, "action": "verify"})
    assert EmailAddress.objects.filter(user=person, email="new@example.test", verified=True).exists()
    return [sent]


def sets_up_an_app(client: Client, person: User) -> list[str]:
    inside(client, person)
    secret = client.get("/account/2fa/totp/activate/").context["form"].secret
    assert client.post("/account/2fa/totp/activate/", {"code": code(secret)}).status_code == 302
    codes = client.get("/account/2fa/recovery-codes/").context["unused_codes"]
    return [secret, *codes]


def takes_the_app_off(client: Client, person: User) -> list[str]:
    inside(client, person)
    secret = with_app(person)
    assert client.post("/account/2fa/totp/deactivate/").status_code == 302
    return [secret]


def makes_codes(client: Client, person: User) -> list[str]:
    inside(client, person)
    with_app(person)
    assert client.post("/account/2fa/recovery-codes/generate/").status_code == 302
    return list(client.get("/account/2fa/recovery-codes/").context["unused_codes"])


def comes_by_an_app(client: Client, person: User) -> list[str]:
    secret = with_app(person)
    signs_in(client, person)
    assert client.post(SECOND, {"code": code(secret)}).status_code == 302
    return [secret]


def comes_by_a_code(client: Client, person: User) -> list[str]:
    with_app(person)
    codes = recovery_codes(person)
    signs_in(client, person)
    assert client.post(SECOND, {"code": codes[0]}).status_code == 302
    return codes


def fails_the_second_step(client: Client, person: User) -> list[str]:
    secret = with_app(person)
    signs_in(client, person)
    wrong = wrong_code(secret)
    client.post(SECOND, {"code": wrong})
    return [secret, wrong]


def key_of(person: User) -> Authenticator:
    data = {"name": "phone", "credential": {"canary": "of-a-key"}}
    return Authenticator.objects.create(user=person, type=Authenticator.Type.WEBAUTHN, data=data)


def adds_a_key(client: Client, person: User) -> list[str]:
    """The browser's half is played: what a key says is the library's to check (``tests/browser/test_account.py``)."""
    inside(client, person)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passkeys.AddWebAuthnForm, "clean", lambda form: form.cleaned_data)
        sent = client.post("/account/2fa/webauthn/add/", {"name": "phone", "credential": '{"canary": "of-a-key"}'})
    assert sent.status_code == 302
    return ["of-a-key"]


def renames_a_key(client: Client, person: User) -> None:
    inside(client, person)
    client.post(f"/account/2fa/webauthn/keys/{key_of(person).pk}/edit/", {"name": "laptop"})


def removes_a_key(client: Client, person: User) -> list[str]:
    inside(client, person)
    client.post(f"/account/2fa/webauthn/keys/{key_of(person).pk}/remove/")
    return ["of-a-key"]


def signs_out_elsewhere(client: Client, person: User) -> None:
    signs_in(Client(), person)
    signs_in(client, person)
    client.post("/account/sessions/")


def signs_out_one(client: Client, person: User) -> None:
    signs_in(Client(), person)
    other = UserSession.objects.get(user=person)
    signs_in(client, person)
    client.post(f"/account/sessions/{other.pk}/end/")


def unlinks(client: Client, person: User) -> None:
    SocialApp.objects.create(provider="openid_connect", provider_id="theirs", name="Theirs", client_id="x")
    account = SocialAccount.objects.create(user=person, provider="theirs", uid="42")
    inside(client, person)
    client.post("/account/3rdparty/", {"account": account.pk})


CASES: dict[tuple[str, str], Deed] = {
    ("account/login/", "sign_in"): lambda client, person: signs_in(client, person) and None,
    ("account/login/", "sign_in_failed"): fails,
    ("account/logout/", "sign_out"): leaves,
    ("account/password/set/", "password_set"): sets_a_first_password,
    ("account/password/change/", "password_change"): posts(
        "/account/password/change/", oldpassword=PASSWORD, password1=NEW, password2=NEW
    ),
    (r"account/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$", "password_reset"): resets,
    ("account/confirm-email/", "address"): moves,
    ("account/2fa/authenticate/", "sign_in"): comes_by_an_app,
    ("account/2fa/authenticate/", "recovery_code_use"): comes_by_a_code,
    ("account/2fa/authenticate/", "sign_in_failed"): fails_the_second_step,
    ("account/2fa/totp/activate/", "factor_add"): sets_up_an_app,
    ("account/2fa/totp/activate/", "recovery_codes_make"): sets_up_an_app,
    ("account/2fa/totp/deactivate/", "factor_remove"): takes_the_app_off,
    ("account/2fa/recovery-codes/generate/", "recovery_codes_make"): makes_codes,
    ("account/2fa/webauthn/add/", "factor_add"): adds_a_key,
    ("account/2fa/webauthn/keys/<int:pk>/edit/", "factor_rename"): renames_a_key,
    ("account/2fa/webauthn/keys/<int:pk>/remove/", "factor_remove"): removes_a_key,
    ("account/profile/", "profile"): posts("/account/profile/", name="Mara", timezone="Europe/Berlin"),
    ("account/sessions/", "sign_ins_end"): signs_out_elsewhere,
    ("account/sessions/<int:session_id>/end/", "sign_ins_end"): signs_out_one,
    ("account/3rdparty/", "sign_on_unlink"): unlinks,
}
"""By address and what is written down there: somebody does it."""

AGAIN = "says again who somebody is; nothing becomes of it"
SHOWS = "only shows"
SIGN_UP = "nobody signs up here"
PROVIDER = "with a provider: tests/tenants/accounts/test_single_sign_on.py"
NOTHING = {
    "account/inactive/": SHOWS,
    "account/signup/": SIGN_UP,
    "account/3rdparty/signup/": SIGN_UP,
    "account/social/signup/": SIGN_UP,
    "account/reauthenticate/": AGAIN,
    "account/2fa/reauthenticate/": AGAIN,
    "account/2fa/webauthn/reauthenticate/": AGAIN,
    "account/login/code/confirm/": "codes by mail open nothing here",
    "account/password/reset/": "sends a letter, and says nothing of whom there is",
    "account/password/reset/done/": SHOWS,
    "account/password/reset/key/done/": SHOWS,
    "account/email/": "sends a letter; the address changes with its code",
    "account/2fa/": SHOWS,
    "account/2fa/recovery-codes/": SHOWS,
    "account/2fa/recovery-codes/download/": SHOWS,
    "account/2fa/webauthn/": SHOWS,
    "account/2fa/webauthn/login/": "a key's sign-in ends as every other: tests/browser/test_account.py",
    "account/sign-on/": PROVIDER,
    "account/sign-on/<slug:provider_id>/": PROVIDER,
    "account/oidc/<slug:provider_id>/login/": PROVIDER,
    r"account/oidc/^(?P<provider_id>[^/]+)/login/": PROVIDER,
    r"account/oidc/^(?P<provider_id>[^/]+)/login/callback/": PROVIDER,
    "account/3rdparty/login/cancelled/": SHOWS,
    "account/3rdparty/login/error/": SHOWS,
    "account/social/login/cancelled/": SHOWS,
    "account/social/login/error/": SHOWS,
    "account/social/connections/": "leads to account/3rdparty/",
}
"""Where nothing is written down, and why."""


def test_every_page_of_an_account_has_a_case_or_a_reason() -> None:
    assert {page for page, _action in CASES} | set(NOTHING) == {page for page in ROUTES if page.startswith("account/")}


def cases() -> list[Any]:
    """Of an app and of codes the library tells after the commit, so there must be one."""
    for_good = pytest.mark.django_db(transaction=True)
    return [
        pytest.param(*case, marks=for_good if "totp" in case[0] or "generate" in case[0] else (), id=" ".join(case))
        for case in CASES
    ]


@pytest.mark.parametrize(("page", "action"), cases())
def test_every_change_of_an_account_is_written_down(page: str, action: str) -> None:
    person = factories.user()

    secrets = CASES[page, action](Client(headers=HEADERS), person) or []

    entries = list(InstallationEntry.objects.filter(action=f"account.{action}", request_id=NUMBER))
    assert len(entries) == 1
    assert entries[0].address == "127.0.0.1"
    assert entries[0].subject_type == "user"
    said = " ".join(str((entry.changes, entry.actor_label)) for entry in InstallationEntry.objects.all())
    assert [each for each in (PASSWORD, NEW, "wrong", *secrets) if re.search(rf"\b{re.escape(each)}\b", said)] == []
    assert chain_verify(None).fault is None


def test_a_sign_in_says_how_and_with_what() -> None:
    person = factories.user()

    secret = with_app(person)
    client = Client(headers=HEADERS)
    signs_in(client, person)
    client.post(SECOND, {"code": code(secret)})

    entry = InstallationEntry.objects.get(action="account.sign_in")
    assert entry.actor == person
    assert entry.changes == {"person": person.email, "ways": ["password", "totp"], "browser": "Firefox on Linux"}


def test_a_flood_of_failures_does_not_fill_the_log(settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {}
    person = factories.user()

    for number in range(20):
        Client().post(LOGIN, {"login": f"nobody-{number}@example.test", "password": "wrong"})
        Client().post(LOGIN, {"login": person.email, "password": "wrong"})

    noted = failures_note()

    failed = InstallationEntry.objects.filter(action="account.sign_in_failed")
    assert (noted, FailedSignIn.objects.count(), failures_note()) == (1, 0, 0)
    assert [(entry.changes["person"], entry.actor) for entry in failed] == [(person.email, None)]


def test_one_failure_among_thousands_of_invented_addresses_is_written_down_at_once() -> None:
    person = factories.user()
    invented = [FailedSignIn(email=f"nobody-{number}@example.test") for number in range(BATCH + 10)]
    FailedSignIn.objects.bulk_create([*invented, FailedSignIn(email=person.email)])

    with CaptureQueriesContext(connection) as asked:
        noted = failures_note()

    assert (noted, FailedSignIn.objects.count()) == (1, 0)
    assert len(asked) < 20, "what was meant for nobody is not looked at one by one"
