"""The question why A does or does not reach B."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from vms.firewall import Protocol

NAMES: Final = "reach-names"
"""The id of the list of names that the page offers."""


class ReachForm(forms.Form):
    """Who calls whom, and how; names are looked up by the selector, which says what is wrong with them."""

    field_order = ("from", "to", "protocol", "port")
    protocol = forms.ChoiceField(
        label=_("By"),
        choices=[(Protocol.TCP.value, "TCP"), (Protocol.UDP.value, "UDP"), (Protocol.ICMP.value, _("Ping (ICMP)"))],
        widget=Choice,
    )
    port = forms.IntegerField(label=_("Port"), required=False, help_text=_("For TCP and UDP: 22, 443 …"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Python knows the first field's name as a word of its own."""
        super().__init__(*args, **kwargs)
        self.fields["from"] = _place(gettext("From"), gettext("A machine, a network, an address, or: outside"))
        self.fields["to"] = _place(gettext("To"), gettext("A machine, or an address"))
        self.order_fields(self.field_order)


def _place(label: str, help_text: str) -> forms.CharField:
    widget = forms.TextInput({"list": NAMES, "autocomplete": "off"})
    return forms.CharField(label=label, max_length=100, help_text=help_text, widget=widget)
