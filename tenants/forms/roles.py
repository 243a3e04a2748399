"""Forms about a tenant's own roles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.forms.boundfield import BoundField
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from tenants.actors import Actor
from tenants.models import Role
from tenants.policy import TAGGABLE, Permission
from tenants.services.roles import Grants
from tenants.words import PERMISSIONS

NO, TAGGED, EVERYWHERE = "", "tagged", "all"
REACH: Final = [(NO, _("No")), (TAGGED, _("On tagged machines")), (EVERYWHERE, _("On every machine"))]


@dataclass(frozen=True, slots=True)
class Group:
    """Permissions that stand together, as fields."""

    title: str | Promise
    fields: list[BoundField]


class RoleForm(forms.Form):
    """A role built from permissions; what acts on machines may hold on tagged ones only."""

    name = forms.CharField(label=_("Name"), max_length=40)
    tags = forms.CharField(
        label=_("Tags"),
        required=False,
        max_length=400,
        help_text=_("Of “tagged machines”, with spaces between; a machine must wear one of them."),
    )

    def __init__(self, *args: Any, actor: Actor, role: Role | None = None, **kwargs: Any) -> None:
        held = actor.permissions - actor.tagged.keys()
        if role is not None:
            kwargs.setdefault("initial", _initial(role))
        super().__init__(*args, **kwargs)
        for _group, rows in PERMISSIONS:
            for permission, words in rows.items():
                if permission in held:
                    self.fields[permission.value] = (
                        forms.ChoiceField(label=str(words), required=False, widget=Choice, choices=REACH)
                        if permission in TAGGABLE
                        else forms.BooleanField(
                            label=str(words), required=False, widget=forms.CheckboxInput({"class": "form-check-input"})
                        )
                    )

    def clean(self) -> dict[str, Any]:
        """A role that allows nothing would lock out whoever is given it."""
        data = super().clean() or self.cleaned_data
        if not any(data.get(p.value) for p in Permission):
            self.add_error(None, _("A role allows something: choose at least one permission."))
        return data

    def groups(self) -> Iterator[Group]:
        """The permissions that the actor may give, as people think of them."""
        for title, rows in PERMISSIONS:
            fields = [self[permission.value] for permission in rows if permission.value in self.fields]
            if fields:
                yield Group(title, fields)

    def spec(self) -> Grants:
        """What was chosen."""
        data = self.cleaned_data
        chosen = {p.value: data.get(p.value) for p in Permission}
        return Grants(
            permissions=[value for value, reach in chosen.items() if reach is True or reach == EVERYWHERE],
            tagged=[value for value, reach in chosen.items() if reach == TAGGED],
            tags=data["tags"].split(),
        )


def _initial(role: Role) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": role.name, "tags": " ".join(role.tags)}
    facts |= {value: EVERYWHERE if value in TAGGABLE else True for value in role.permissions}
    return facts | dict.fromkeys(role.tagged, TAGGED)
