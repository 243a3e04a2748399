"""Forms about tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.clock import now
from portal.core.forms import Choice
from tenants.actors import Actor
from tenants.policy import READ_ONLY


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """A token to be made; ``permissions`` None is everything that its owner may."""

    name: str
    permissions: list[str] | None
    expires_at: datetime | None


class TokenForm(forms.Form):
    """A token for scripts."""

    name = forms.CharField(label=_("Name"), max_length=64, help_text=_("What it is for, such as “backup script”."))
    scope = forms.ChoiceField(
        label=_("It may"),
        widget=Choice,
        choices=[("all", _("Everything I may")), ("look", _("Look, change nothing"))],
        help_text=_("Your role narrows it, at any later time, too."),
    )
    expires = forms.ChoiceField(
        label=_("It ends"),
        widget=Choice,
        choices=[("30", _("After 30 days")), ("90", _("After 90 days")), ("365", _("After a year")), ("0", _("Never"))],
        initial="90",
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actor = actor

    def spec(self) -> TokenSpec:
        """What was asked for; looking is what of it the person may themselves."""
        days = int(self.cleaned_data["expires"])
        return TokenSpec(
            name=self.cleaned_data["name"],
            permissions=sorted(READ_ONLY & self.actor.permissions) if self.cleaned_data["scope"] == "look" else None,
            expires_at=now() + timedelta(days=days) if days else None,
        )
