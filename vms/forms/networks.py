"""Forms about networks."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from tenants.actors import Actor


class NetworkForm(forms.Form):
    """A private network to be made; its range is handed out by the portal."""

    name = forms.CharField(label=_("Name"), max_length=40, help_text=_("Small letters, digits and dashes."))
    outward = forms.ChoiceField(
        label=_("Way out"),
        widget=Choice,
        choices=[("nat", _("Reaches the internet")), ("isolated", _("Stays among your machines"))],
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def spec(self) -> dict[str, Any]:
        """What ``network_create`` takes."""
        return {"name": self.cleaned_data["name"], "outward": self.cleaned_data["outward"]}
