"""Forms about CDs in a machine's drives."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from vms.models import Disc, Image
from vms.models.discs import DiscBoot
from vms.selectors.stock import discs_offered


class BootForm(forms.Form):
    """When the machine is started from the CD."""

    boot = forms.ChoiceField(
        label=_("Start from it"), choices=DiscBoot.choices, widget=Choice,
        help_text=_("Holds from the machine's next start. A restart from inside is no start."),
    )  # fmt: skip


class InsertForm(BootForm):
    """A CD, and when the machine is started from it."""

    image: forms.ModelChoiceField[Image] = forms.ModelChoiceField(None, label=_("CD"), widget=Choice, empty_label=None)
    field_order = ("image", "boot")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["image"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = discs_offered()


class EjectForm(forms.Form):
    """Wait for the machine's system, or not."""

    force = forms.BooleanField(
        label=_("By force, even if its system has locked the tray"), required=False,
        help_text=_("What is being read from the CD then fails. Without this, a CD that is mounted stays in."),
    )  # fmt: skip


def boot_form(disc: Disc, data: Any = None) -> BootForm:
    """The form with what is so now."""
    return BootForm(data, initial={"boot": disc.boot})
