"""Forms about snapshots."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from vms.services.snapshots.check import DESCRIPTION_MAX


class SnapshotForm(forms.Form):
    """A snapshot's words; with ``memory`` also whether what the machine runs is kept."""

    name = forms.CharField(
        label=_("Name"), max_length=63, help_text=_("Small letters, digits, dots and hyphens."),
        widget=forms.TextInput({"autocapitalize": "none", "spellcheck": "false"}),
    )  # fmt: skip
    description = forms.CharField(label=_("Description"), max_length=DESCRIPTION_MAX, required=False)
    memory = forms.BooleanField(
        label=_("With its memory"),
        help_text=_("It can go on running where it was. It stands still while its memory is written."),
        required=False,
    )

    def __init__(self, *args: Any, memory: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not memory:
            del self.fields["memory"]


class RevertForm(forms.Form):
    """How to go back."""

    memory = forms.BooleanField(required=False)
