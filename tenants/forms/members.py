"""Forms about the people of a tenant."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from portal.core.passwords import HINT
from tenants.actors import Actor
from tenants.models import Role, User
from tenants.services.roles import role_named
from tenants.shapes import ROLES


def roles_given_by(actor: Actor) -> list[Role]:
    """The roles of the scope that the actor may hand out, strongest first."""
    order = list(ROLES)
    held = {p.value for p in actor.permissions - actor.tagged.keys()}
    rows = [role for role in Role.objects.all() if {*role.permissions, *role.tagged} <= held]
    return sorted(rows, key=lambda role: (order.index(role.name) if role.name in order else len(order), role.name))


class InvitationForm(forms.Form):
    """Somebody is asked to join the tenant."""

    email = forms.EmailField(
        label=_("E-mail"),
        max_length=254,
        help_text=_("They get a letter with a link, whether or not they are new here."),
    )
    role = forms.ChoiceField(label=_("Role"), widget=Choice)

    def __init__(self, *args: Any, actor: Actor, roles: list[Role] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        given = roles_given_by(actor) if roles is None else roles
        field = self.fields["role"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(role.name, ROLES[role.name][0] if role.name in ROLES else role.name) for role in given]
        field.initial = "member"

    def spec(self) -> tuple[str, Role]:
        """Who is asked, and with which role."""
        return self.cleaned_data["email"], role_named(self.cleaned_data["role"])


class NewPersonForm(forms.Form):
    """Somebody new, whose address a letter's link has proven."""

    name = forms.CharField(label=_("Your name"), max_length=100, required=False)
    password = forms.CharField(
        label=_("Password"),
        max_length=4096,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, email: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.email = email
        self.fields["name"].widget.attrs["autocomplete"] = "name"
        self.fields["password"].help_text = HINT

    def clean(self) -> dict[str, Any]:
        """The password against the house's rules, and against the person's own words."""
        said = super().clean() or {}
        if "password" in said:
            try:
                validate_password(said["password"], User(email=self.email, name=said.get("name", "")))
            except forms.ValidationError as error:
                self.add_error("password", error)
        return said

    def spec(self) -> tuple[str, str]:
        """Their name and password."""
        return self.cleaned_data["name"], self.cleaned_data["password"]
