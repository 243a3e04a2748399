"""Forms about what is inside a machine."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from tenants.actors import Actor
from vms.specs import PASSWORD_MAX


class PasswordForm(forms.Form):
    """A password for somebody inside the machine."""

    user = forms.CharField(label=_("User"), max_length=32, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    password = forms.CharField(
        label=_("New password"), max_length=PASSWORD_MAX, strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("Handed to the machine’s agent and kept nowhere."),
    )  # fmt: skip

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def spec(self) -> dict[str, Any]:
        """The wish, for ``guest_set_password``."""
        return {"user": self.cleaned_data["user"], "password": self.cleaned_data["password"]}


class KeyIntoGuestForm(forms.Form):
    """A public key for somebody inside the machine."""

    user = forms.CharField(label=_("User"), max_length=32, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    public_key = forms.CharField(
        label=_("Public key"), max_length=8192,
        widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"}),
        help_text=_("One line, as in a file that ends in .pub."),
    )  # fmt: skip

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def spec(self) -> dict[str, Any]:
        """The wish, for ``guest_add_keys``."""
        return {"user": self.cleaned_data["user"], "keys": [self.cleaned_data["public_key"]]}
