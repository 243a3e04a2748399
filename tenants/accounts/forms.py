"""The accounts library's forms, with limits of ours."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import LoginForm as LibraryLoginForm
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
