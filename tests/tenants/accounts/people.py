"""Somebody at a browser, on the pages of their account."""

from __future__ import annotations

import time

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

from tenants.models import User
from tests.factories import PASSWORD

LOGIN, SECOND, FACTOR = "/account/login/", "/account/2fa/authenticate/", "/account/2fa/"


def signs_in(client: Client, person: User, password: str = PASSWORD, **more: str) -> HttpResponse:
    """The first step."""
    return client.post(LOGIN, {"login": person.email, "password": password, **more})


def is_in(client: Client) -> bool:
    """Does the browser belong to somebody?"""
    return "_auth_user_id" in client.session


def confirms(client: Client) -> None:
    """Says the password again, as changes of an account ask for."""
    assert client.post("/account/reauthenticate/", {"password": PASSWORD}).status_code == 302


def with_app(person: User) -> str:
    """Give somebody an authenticator app; its secret."""
    secret = totp.generate_totp_secret()
    totp.TOTP.activate(person, secret)
    return str(secret)


def recovery_codes(person: User) -> list[str]:
    """Give somebody recovery codes."""
    return list(RecoveryCodes.activate(person).generate_codes())


def code(secret: str, *, ahead: int = 0) -> str:
    """What the app shows now, or ``ahead`` periods of 30 s later; used ones are forgotten, so that it works again."""
    at = int(time.time()) // 30 + ahead
    cache.clear()
    return str(totp.format_hotp_value(totp.hotp_value(secret, at)))


def wrong_code(secret: str) -> str:
    """Six digits that the app shows at no moment that counts."""
    right = {code(secret, ahead=n) for n in (-2, -1, 0, 1, 2)}
    return next(f"{n:06}" for n in range(10) if f"{n:06}" not in right)


def factors(person: User) -> set[str]:
    """The kinds of factors somebody has."""
    return set(Authenticator.objects.filter(user=person).values_list("type", flat=True))


def with_passkey(person: User) -> Authenticator:
    """Give somebody a passkey whose private half nobody has."""
    key = AttestedCredentialData.create(
        Aaguid.NONE, b"\x01" * 16, ES256.from_cryptography_key(generate_private_key(SECP256R1()).public_key())
    )
    flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV | AuthenticatorData.FLAG.AT
    said = AuthenticatorData.create(b"\x00" * 32, flags, 0, key)
    client = CollectedClientData.create(type="webauthn.create", challenge=b"\x02" * 16, origin="https://example.test")
    credential = {
        "id": websafe_encode(key.credential_id),
        "rawId": websafe_encode(key.credential_id),
        "type": "public-key",
        "response": {
            "clientDataJSON": websafe_encode(client),
            "attestationObject": websafe_encode(AttestationObject.create("none", said, {})),
        },
        "clientExtensionResults": {},
    }
    data = {"name": "phone", "credential": credential}
    return Authenticator.objects.create(user=person, type=Authenticator.Type.WEBAUTHN, data=data)
