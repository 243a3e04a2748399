"""The forms of passkeys; apart from the others, since their library is large.

What a browser sends is read by ``fido2``, which raises whatever its parsers raise where it is no credential at all; here that
is a refusal like any other, not a fault of the portal.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from allauth.core import context
from allauth.mfa.adapter import get_adapter
from allauth.mfa.webauthn import forms as library
from allauth.mfa.webauthn.internal.flows import rename_authenticator
from django.core.validators import MaxLengthValidator
from django.utils.translation import gettext_lazy as _

from tenants.accounts.sessions import person_at
from tenants.services.account_log import account_note

NAME_LONGEST: Final = 64
GARBLED: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError, AssertionError, struct.error)


class SecondStepForm(library.AuthenticateWebAuthnForm):
    """The second step of a sign-in."""

    def clean_credential(self) -> Any:
        return _careful(super().clean_credential)


class SignInForm(library.LoginWebAuthnForm):
    """A passkey alone."""

    def clean_credential(self) -> Any:
        return _careful(super().clean_credential)


class AgainForm(library.ReauthenticateWebAuthnForm):
    """Is it still you?"""

    def clean_credential(self) -> Any:
        return _careful(super().clean_credential)


class AddPasskeyForm(library.AddWebAuthnForm):
    """A key that signs in alone, unless somebody wants it after the password only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].required = True
        self.fields["name"].validators.append(MaxLengthValidator(NAME_LONGEST))
        self.fields["name"].widget.attrs["maxlength"] = NAME_LONGEST
        self.fields["name"].label = _("Name")
        self.fields["name"].help_text = _("Such as “my phone”.")
        self.fields["passwordless"].label = _("It signs me in alone")
        self.fields["passwordless"].help_text = _("Without a password. Otherwise it is asked for after the password.")
        self.fields["passwordless"].initial = True

    def clean(self) -> Any:
        return _careful(super().clean)


class RenamePasskeyForm(library.EditWebAuthnForm):
    """What one calls a passkey."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].validators.append(MaxLengthValidator(NAME_LONGEST))
        self.fields["name"].widget.attrs["maxlength"] = NAME_LONGEST

    def save(self) -> Any:
        before = self.instance.wrap().name
        user = self.instance.user
        rename_authenticator(context.request, self.instance, self.cleaned_data["name"])
        account_note(person_at(context.request, user), "factor_rename", user, name=[before, self.cleaned_data["name"]])
        return self.instance


def _careful(clean: Any) -> Any:
    """What ``clean`` answers; the library's "incorrect code" where it stumbles over what was sent."""
    try:
        return clean()
    except GARBLED as error:
        raise get_adapter().validation_error("incorrect_code") from error
