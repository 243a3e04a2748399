"""Forms about SSH keys."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from tenants.actors import Actor


class KeyForm(forms.Form):
    """A public key to be kept."""

    prefix = "key"
    use_required_attribute = False  # it stands inside the form for machines, which is sent without a key, too
    public_key = forms.CharField(
        label=_("Public key"), max_length=8192,
        widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"}),
        help_text=_("The one line of the .pub file."),
    )  # fmt: skip
    name = forms.CharField(
        label=_("Name"), required=False, max_length=64, help_text=_("Empty: the comment at the key's end.")
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def spec(self) -> dict[str, str]:
        """The key and what it is called: by its comment where no name was given."""
        text = self.cleaned_data["public_key"].strip()
        comment = text.split(None, 2)[2:3]
        return {
            "name": self.cleaned_data["name"] or (comment[0][:64] if comment else str(_("key"))),
            "public_key": text,
        }
