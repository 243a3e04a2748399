"""Password rules beside Django's own."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

LONGEST = 1024
HINT = gettext_lazy("At least 10 characters, not a common password.")
"""What forms say of a password beforehand; a refusal says what else was wrong."""


class MaximumLengthValidator:
    """Refuse passwords so long that hashing them is work for an attacker (CVE-2012-1572)."""

    def validate(self, password: str, user: Any = None) -> None:
        if len(password) > LONGEST:
            raise ValidationError(_("This password is too long."), code="password_too_long")

    def get_help_text(self) -> str:
        return _("At most %(longest)d characters.") % {"longest": LONGEST}
