"""The accounts library's forms, with limits of ours."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.forms import LoginForm as LibraryLoginForm
from allauth.account.forms import ResetPasswordForm as LibraryResetForm
from allauth.account.models import EmailAddress
from django.core.validators import MaxLengthValidator

from portal.core.passwords import LONGEST


class LoginForm(LibraryLoginForm):
    """Refuses what no password can be before anything is hashed, and shows no placeholders: the labels say it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].validators.append(MaxLengthValidator(LONGEST))
        self.fields["password"].help_text = ""
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)


class ResetPasswordForm(LibraryResetForm):
    """Looks for people once, whoever there is: the library asks again, and otherwise, where it finds nobody (P-C13)."""

    def clean_email(self) -> str:
        """The address, small; ``users`` is whose proven address it is, if they may sign in."""
        email: str = get_adapter().clean_email(self.cleaned_data["email"].lower())
        rows = EmailAddress.objects.filter(email=email, verified=True).select_related("user")
        self.users = [row.user for row in rows if row.user.is_active]
        return email
