"""Forms about a tenant itself."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _


class SettingsForm(forms.Form):
    """The tenant itself."""

    name = forms.CharField(label=_("Name"), max_length=100, help_text=_("Addresses of pages keep the short name."))

    def spec(self) -> str:
        """The new name."""
        return str(self.cleaned_data["name"])
