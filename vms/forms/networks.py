"""Forms about networks."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from tenants.actors import Actor
from vms.models import Network, Subnet
from vms.services.ranges import MTUS
from vms.specs import NetworkWish

OUTWARD = [("nat", _("Reaches the internet")), ("isolated", _("Stays among your machines"))]


class NetworkForm(forms.Form):
    """A private network to be made; a range that is not named is handed out by the portal."""

    name = forms.CharField(label=_("Name"), max_length=40, help_text=_("Small letters, digits and dashes."))
    description = forms.CharField(label=_("Description"), max_length=200, required=False)
    outward = forms.ChoiceField(label=_("Way out"), widget=Choice, choices=OUTWARD)
    cidr = forms.CharField(
        label=_("Range"), max_length=18, required=False,
        help_text=_("A private one such as 10.20.0.0/24, that no other network here touches. Empty: the next free one."),
    )  # fmt: skip
    gateway = forms.CharField(
        label=_("Gateway"), max_length=15, required=False, help_text=_("Empty: the first address of the range.")
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def spec(self) -> NetworkWish:
        """What ``network_create`` takes."""
        return NetworkWish(**self.cleaned_data)


class NetworkEditForm(forms.Form):
    """What holds at once: what it is called, and which addresses are handed out."""

    name = forms.CharField(label=_("Name"), max_length=40)
    description = forms.CharField(label=_("Description"), max_length=200, required=False)
    first = forms.CharField(label=_("First address handed out"), max_length=15, required=False)
    last = forms.CharField(
        label=_("Last address handed out"),
        max_length=15,
        required=False,
        help_text=_("Both empty: as the portal chooses."),
    )

    def __init__(self, *args: Any, network: Network, subnet: Subnet, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial = {
            "name": network.name,
            "description": network.description,
            "first": subnet.first or "",
            "last": subnet.last or "",
        }

    def spec(self) -> dict[str, Any]:
        """What ``network_edit`` takes."""
        return self.cleaned_data


class NetworkRedrawForm(forms.Form):
    """What the network is taken down for."""

    outward = forms.ChoiceField(label=_("Way out"), widget=Choice, choices=OUTWARD)
    domain = forms.CharField(
        label=_("Domain"), max_length=120, required=False,
        help_text=_("What the names of its machines end in. Empty: they have no names here."),
    )  # fmt: skip
    dns = forms.CharField(
        label=_("DNS servers"), max_length=80, required=False,
        help_text=_("Up to four addresses. Empty: the network's own, which knows its machines by name."),
    )  # fmt: skip
    mtu = forms.IntegerField(label=_("MTU"), min_value=MTUS[0], max_value=MTUS[1])
    routes = forms.CharField(
        label=_("Routes"), max_length=600, required=False, widget=forms.Textarea({"rows": 3}),
        help_text=_("Public ranges, one a line, that machines reach through this network, also by a further card."),
    )  # fmt: skip

    def __init__(self, *args: Any, network: Network, subnet: Subnet, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gateway = subnet.gateway
        self.initial = {
            "outward": network.outward,
            "domain": network.domain,
            "dns": " ".join(subnet.dns),
            "mtu": network.mtu,
            "routes": "\n".join(route["to"] for route in subnet.routes),
        }

    def spec(self) -> dict[str, Any]:
        """What ``network_edit`` takes."""
        words = dict(self.cleaned_data)
        words["dns"] = tuple(words["dns"].replace(",", " ").split())
        words["routes"] = tuple((to, self.gateway) for to in words["routes"].split())
        return words
