"""Forms about machines' network cards."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from vms.models import Guest, Network, Port
from vms.services.limiting import MBIT_MAX


class AttachPortForm(forms.Form):
    """A network that the machine is not on, and a wish for an address."""

    network: forms.ModelChoiceField[Network] = forms.ModelChoiceField(
        None, label=_("Network"), widget=Choice, empty_label=None
    )
    ip = forms.CharField(
        label=_("Address"),
        max_length=15,
        required=False,
        help_text=_("Empty: the next free one of the network's pool."),
    )

    def __init__(self, *args: Any, guest: Guest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["network"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Network.objects.exclude(ports__guest=guest)


class ReaddressPortForm(forms.Form):
    """Another address."""

    ip = forms.CharField(
        label=_("New address"),
        max_length=15,
        required=False,
        help_text=_("Empty: the next free one of the network's pool."),
    )


class LimitPortForm(forms.Form):
    """How fast a card may be."""

    in_mbit = forms.IntegerField(label=_("To the machine, Mbit a second"), min_value=0, max_value=MBIT_MAX)
    out_mbit = forms.IntegerField(
        label=_("From the machine, Mbit a second"),
        min_value=0,
        max_value=MBIT_MAX,
        help_text=_("0: no limit of its own."),
    )

    def __init__(self, *args: Any, port: Port, **kwargs: Any) -> None:
        kwargs["initial"] = {"in_mbit": port.in_mbit, "out_mbit": port.out_mbit}
        super().__init__(*args, **kwargs)
