"""Forms about oneself."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice


@cache
def zones() -> list[tuple[str, str]]:
    """Every time zone by the name of a place."""
    places = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc/", "SystemV/")))
    return [(zone, zone.replace("_", " ")) for zone in ["UTC", *places]]


class ProfileForm(forms.Form):
    """What somebody is called, and when it is noon for them."""

    name = forms.CharField(label=_("Name"), max_length=100, required=False)
    timezone = forms.ChoiceField(
        label=_("Time zone"), choices=zones, widget=Choice, help_text=_("For letters; pages show your browser's.")
    )


class SignOnForm(forms.Form):
    """Whose single sign-on?"""

    email = forms.EmailField(
        label=_("E-mail"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )
    next = forms.CharField(required=False, max_length=2000, widget=forms.HiddenInput)
