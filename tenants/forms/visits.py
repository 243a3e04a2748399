"""Forms about operators' visits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from tenants.models import Member
from tenants.selectors import members_of
from tenants.shapes import role_label


class VisitForm(forms.Form):
    """In whose place, why, for how long, and whether to change anything."""

    member = forms.ChoiceField(
        label=_("In the place of"), widget=Choice, help_text=_("You can do what they can, no more.")
    )
    reason = forms.CharField(
        label=_("Why"),
        max_length=500,
        widget=forms.TextInput({"class": "form-control"}),
        help_text=_("The owners are told, and it stands in their audit log."),
    )
    minutes = forms.ChoiceField(
        label=_("For"),
        widget=Choice,
        choices=[("15", _("15 minutes")), ("60", _("1 hour")), ("240", _("4 hours"))],
        initial="15",
    )
    may_change = forms.BooleanField(
        label=_("Let me change things, not only look"),
        required=False,
        widget=forms.CheckboxInput({"class": "form-check-input"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.people = {str(member.pk): member for member in members_of()}
        field = self.fields["member"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            (pk, f"{member.user.label} ({role_label(member.role.name)})") for pk, member in self.people.items()
        ]

    def clean_member(self) -> Member:
        """The member of that id."""
        return self.people[self.cleaned_data["member"]]

    @property
    def lasts(self) -> timedelta:
        """For how long."""
        return timedelta(minutes=int(self.cleaned_data["minutes"]))
