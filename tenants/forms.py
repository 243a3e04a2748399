"""Forms about a tenant and its people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.clock import now
from portal.core.forms import Choice
from tenants.actors import Actor
from tenants.models import Role, User
from tenants.policy import READ_ONLY
from tenants.services.members import role_named
from tenants.shapes import ROLES


def roles_given_by(actor: Actor) -> list[Role]:
    """The roles of the scope that the actor may hand out, strongest first."""
    order = list(ROLES)
    held = {p.value for p in actor.permissions - actor.tagged.keys()}
    rows = [role for role in Role.objects.all() if {*role.permissions, *role.tagged} <= held]
    return sorted(rows, key=lambda role: (order.index(role.name) if role.name in order else len(order), role.name))


class MemberForm(forms.Form):
    """Somebody who can sign in already joins the tenant."""

    email = forms.EmailField(label=_("E-mail"), help_text=_("Of somebody who can sign in here already."))
    role = forms.ChoiceField(label=_("Role"), widget=Choice)

    def __init__(self, *args: Any, actor: Actor, roles: list[Role] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        given = roles_given_by(actor) if roles is None else roles
        field = self.fields["role"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(role.name, ROLES[role.name][0] if role.name in ROLES else role.name) for role in given]
        field.initial = "member"

    def clean_email(self) -> User:
        """The person of that address."""
        user = User.objects.filter(email__iexact=self.cleaned_data["email"], is_active=True).first()
        if user is None:
            raise forms.ValidationError(_("Nobody with this address can sign in here. Ask an operator to add them."))
        return user

    def spec(self) -> tuple[User, Role]:
        """Who joins, with which role."""
        return self.cleaned_data["email"], role_named(self.cleaned_data["role"])


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


class SettingsForm(forms.Form):
    """The tenant itself."""

    name = forms.CharField(label=_("Name"), max_length=100, help_text=_("Addresses of pages keep the short name."))

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def spec(self) -> str:
        """The new name."""
        return str(self.cleaned_data["name"])
