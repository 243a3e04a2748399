"""Forms about the people of a tenant."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
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
