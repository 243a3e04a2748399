"""Writes down what people do to their accounts on the accounts library's pages; never what they typed there."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.signals import email_changed, email_removed, password_changed, password_reset, password_set
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import (
    authentication_failed,
    authenticator_added,
    authenticator_removed,
    authenticator_reset,
    authenticator_used,
)
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.signals import social_account_removed
from django.contrib.auth.signals import user_logged_out
from django.dispatch import receiver
from django.http import HttpRequest

from tenants.accounts.sessions import person_at
from tenants.models import User
from tenants.services.account_log import account_note

CODES = Authenticator.Type.RECOVERY_CODES


@receiver(user_logged_out)
def _signed_out(request: HttpRequest | None = None, user: User | None = None, **kwargs: Any) -> None:
    if request is not None and user is not None:
        _note(request, user, "sign_out")


@receiver(password_changed)
def _password_changed(request: HttpRequest, user: User, **kwargs: Any) -> None:
    _note(request, user, "password_change")


@receiver(password_set)
def _password_set(request: HttpRequest, user: User, **kwargs: Any) -> None:
    _note(request, user, "password_set")


@receiver(password_reset)
def _password_reset(request: HttpRequest, user: User, **kwargs: Any) -> None:
    _note(request, user, "password_reset")


@receiver(email_changed)
def _address_changed(
    request: HttpRequest,
    user: User,
    from_email_address: EmailAddress | None,
    to_email_address: EmailAddress,
    **kwargs: Any,
) -> None:
    before = from_email_address.email if from_email_address is not None else ""
    _note(request, user, "address", address=[before, to_email_address.email])


@receiver(email_removed)
def _address_removed(request: HttpRequest, user: User, email_address: EmailAddress, **kwargs: Any) -> None:
    _note(request, user, "address_remove", address=email_address.email)


@receiver(authenticator_added)
def _factor_added(request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    if authenticator.type == CODES:
        _note(request, user, "recovery_codes_make")
        return
    _note(request, user, "factor_add", **_factor(authenticator))


@receiver(authenticator_reset)
def _codes_made(request: HttpRequest, user: User, **kwargs: Any) -> None:
    _note(request, user, "recovery_codes_make")


@receiver(authenticator_removed)
def _factor_removed(request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    _note(request, user, "factor_remove", **_factor(authenticator))


@receiver(authenticator_used)
def _factor_used(request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    """The sign-in that it is part of says so itself; a recovery code is gone with its use."""
    if authenticator.type == CODES:
        _note(request, user, "recovery_code_use")


@receiver(authentication_failed)
def _factor_failed(
    request: HttpRequest, user: User, authenticator: Authenticator, reauthentication: bool = False, **kwargs: Any
) -> None:
    """Their password was right: that is worth a row each, and the library counts five in five minutes (``login_failed``)."""
    step = "again" if reauthentication else "second factor"
    account_note(person_at(request, None), "sign_in_failed", user, step=step, factor=str(authenticator.type))


@receiver(social_account_removed)
def _sign_on_removed(request: HttpRequest, socialaccount: SocialAccount, **kwargs: Any) -> None:
    _note(request, socialaccount.user, "sign_on_unlink", provider=socialaccount.provider)


def _note(request: HttpRequest, user: User, action: str, **changes: Any) -> None:
    account_note(person_at(request, user), action, user, **changes)


def _factor(authenticator: Authenticator) -> dict[str, str]:
    """Which factor, and what its owner calls it."""
    name = authenticator.wrap().name if authenticator.type == Authenticator.Type.WEBAUTHN else ""
    return {"factor": str(authenticator.type), **({"name": str(name)} if name else {})}
