"""The accounts library's forms, with limits of ours."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.forms import ChangePasswordForm as LibraryChangeForm
from allauth.account.forms import LoginForm as LibraryLoginForm
from allauth.account.forms import ResetPasswordForm as LibraryResetForm
from allauth.account.forms import ResetPasswordKeyForm as LibraryResetKeyForm
from allauth.account.forms import SetPasswordForm as LibrarySetForm
from allauth.account.models import EmailAddress
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.adapter import get_adapter as get_factor_adapter
from allauth.mfa.base import forms as second_step
from django.core.cache import cache
from django.core.validators import MaxLengthValidator

from portal.core.passwords import HINT, LONGEST


class LoginForm(LibraryLoginForm):
    """Refuses what no password can be before anything is hashed, and shows no placeholders: the labels say it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].validators.append(MaxLengthValidator(LONGEST))
        self.fields["password"].help_text = ""
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)


class OnceForm(second_step.BaseAuthenticateForm):
    """A code is taken once for as long as it is right.

    The library remembers a used one for a period; with a tolerance it is right for longer (RFC 6238, 5.2: never twice).
    """

    def clean_code(self) -> str:
        code: str = super().clean_code()
        periods = 2 * app_settings.TOTP_TOLERANCE + 1
        used = f"second-factor:used:{self.user.pk}:{normalize_user_code(code)}"
        if not cache.add(used, "y", timeout=periods * app_settings.TOTP_PERIOD):
            raise get_factor_adapter().validation_error("incorrect_code")
        return code


class CodeForm(OnceForm, second_step.AuthenticateForm):
    """The second step of a sign-in."""


class CodeAgainForm(OnceForm, second_step.ReauthenticateForm):
    """Is it still you?"""


class ResetPasswordForm(LibraryResetForm):
    """Looks for people once, whoever there is: the library asks again, and otherwise, where it finds nobody (P-C13)."""

    def clean_email(self) -> str:
        """The address, small; ``users`` is whose proven address it is, if they may sign in."""
        email: str = get_adapter().clean_email(self.cleaned_data["email"].lower())
        rows = EmailAddress.objects.filter(email=email, verified=True).select_related("user")
        self.users = [row.user for row in rows if row.user.is_active]
        return email


class _Calm:
    """One line on passwords beforehand, in the place of every rule there is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password1"].help_text = HINT  # type: ignore[attr-defined]


class ChangePasswordForm(_Calm, LibraryChangeForm):
    """Another password."""


class SetPasswordForm(_Calm, LibrarySetForm):
    """A first password."""


class ResetPasswordKeyForm(_Calm, LibraryResetKeyForm):
    """A password by a letter's link."""
