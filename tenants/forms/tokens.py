"""Forms about tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.clock import now
from portal.core.forms import Choice, Ticks
from tenants.actors import Actor
from tenants.forms.members import roles_given_by
from tenants.policy import MONEY, READ_ONLY, Permission
from tenants.services.tokens import Scope
from tenants.shapes import role_label
from tenants.words import permission_choices

MINE = ""
MAY: Final = [
    ("all", _("Everything it acts as")),
    ("look", _("Look, change nothing")),
    ("money", _("Usage, bills and prices alone")),
    ("some", _("What I tick below")),
]
"""What a token may be cut to."""


class TokenForm(forms.Form):
    """A token for scripts."""

    name = forms.CharField(label=_("Name"), max_length=64, help_text=_("What it is for, such as “backup script”."))
    role = forms.ChoiceField(
        label=_("It acts as"),
        widget=Choice,
        required=False,
        help_text=_("You: it ends with your membership. The project: it stays, whoever comes or goes."),
    )
    scope = forms.ChoiceField(
        label=_("It may"),
        widget=Choice,
        choices=MAY,
        help_text=_("The role narrows it, at any later time, too."),
    )
    expires = forms.ChoiceField(
        label=_("It ends"),
        widget=Choice,
        choices=[("30", _("After 30 days")), ("90", _("After 90 days")), ("365", _("After a year")), ("0", _("Never"))],
        initial="90",
    )
    permissions = forms.MultipleChoiceField(label=_("Only these"), required=False, widget=Ticks)
    tags = forms.CharField(
        label=_("Only machines tagged"),
        required=False,
        max_length=400,
        help_text=_("Tags with spaces between; any one is enough."),
    )
    networks = forms.CharField(
        label=_("Only from these networks"),
        required=False,
        max_length=1000,
        help_text=_("Such as 192.0.2.0/24; with spaces between."),
    )

    MORE = ("permissions", "tags", "networks")
    """Fields that the page keeps folded."""

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actor = actor
        scope = self.fields["scope"]
        assert isinstance(scope, forms.ChoiceField)
        if not actor.permissions >= MONEY:
            scope.choices = [choice for choice in MAY if choice[0] != "money"]
        role, permissions = self.fields["role"], self.fields["permissions"]
        assert isinstance(role, forms.ChoiceField)
        assert isinstance(permissions, forms.MultipleChoiceField)
        permissions.choices = permission_choices(actor.permissions)
        if actor.may(Permission.TOKEN_MANAGE):
            named = [(r.name, _("The project, as %s") % role_label(r.name)) for r in roles_given_by(actor)]
            role.choices = [(MINE, _("Me")), *named]
        else:
            del self.fields["role"]

    def clean(self) -> dict[str, Any]:
        """Ticks and the choice that asks for them go together."""
        data = super().clean() or self.cleaned_data
        if data.get("scope") == "some" and not data.get("permissions"):
            self.add_error("permissions", _("Tick at least one."))
        return data

    @property
    def role_name(self) -> str:
        """The role that a service token gets; empty for one's own."""
        return str(self.cleaned_data.get("role") or MINE)

    def spec(self) -> Scope:
        """What was asked for; looking is what of it the person may themselves."""
        data = self.cleaned_data
        days = int(data["expires"])
        permissions = {
            "all": None,
            "look": sorted(READ_ONLY & self.actor.permissions),
            "money": sorted(MONEY),
            "some": data["permissions"],
        }[data["scope"]]
        return Scope(
            permissions=permissions,
            tags=data["tags"].split(),
            networks=data["networks"].replace(",", " ").split(),
            expires_at=now() + timedelta(days=days) if days else None,
        )
