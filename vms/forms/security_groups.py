"""Forms about security groups."""

from __future__ import annotations

import re
from typing import Any, Final

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.forms import Choice, Ticks
from tenants.actors import Actor
from vms.firewall import NOTE_MAX, Protocol
from vms.models import SecurityGroup

_PORTS: Final = re.compile(r"\A\s*(\d{1,5})\s*(?:[-–:]\s*(\d{1,5})\s*)?\Z")


class GroupForm(forms.Form):
    """What a group is called."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=40, help_text=gettext_lazy("Small letters, digits and dashes.")
    )
    note = forms.CharField(label=gettext_lazy("Note"), required=False, max_length=200)

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class RuleForm(forms.Form):
    """One thing more that a group allows."""

    direction = forms.ChoiceField(
        label=gettext_lazy("Allow"),
        widget=Choice,
        choices=[
            ("in", gettext_lazy("In: others call the machine")),
            ("out", gettext_lazy("Out: the machine calls others")),
        ],
    )
    protocol = forms.ChoiceField(
        label=gettext_lazy("Protocol"),
        widget=Choice,
        choices=[
            (Protocol.TCP, "TCP"),
            (Protocol.UDP, "UDP"),
            (Protocol.ICMP, gettext_lazy("ICMP (ping)")),
            (Protocol.ANY, gettext_lazy("Everything")),
        ],
    )
    ports = forms.CharField(
        label=gettext_lazy("Ports"),
        required=False,
        max_length=15,
        help_text=gettext_lazy("22, or 8000-8999; empty: all. Of who is called."),
    )
    peer = forms.ChoiceField(label=gettext_lazy("With whom"), widget=Choice)
    cidr = forms.CharField(
        label=gettext_lazy("Range"),
        required=False,
        max_length=43,
        help_text=gettext_lazy("For “A range”: 192.0.2.0/24, or 192.0.2.7/32 for one address."),
    )
    note = forms.CharField(label=gettext_lazy("Note"), required=False, max_length=NOTE_MAX)

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        groups = [(str(group.pk), _("Machines of %s") % group.name) for group in SecurityGroup.objects.order_by("name")]
        self.fields["peer"].choices = [("", _("Anybody")), ("cidr", _("A range")), *groups]  # type: ignore[attr-defined]
        self.fields["peer"].required = False

    def clean(self) -> dict[str, Any]:
        """Ports are one number or two; a range is given where it is asked for, and only there."""
        given = super().clean() or {}
        if given.get("ports") and not _PORTS.match(given["ports"]):
            self.add_error("ports", _("Write one number, or two with a dash between."))
        if given.get("peer") == "cidr" and not given.get("cidr"):
            self.add_error("cidr", _("Which range?"))
        if given.get("cidr") and given.get("peer") != "cidr":
            self.add_error("peer", _("A range is given: choose “A range”, or empty it."))
        return given

    def spec(self) -> dict[str, Any]:
        """The rule as ``group_rules_set`` takes it."""
        given = self.cleaned_data
        found = _PORTS.match(given["ports"] or "")
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (None, None)
        peer = given["peer"]
        return {
            "direction": given["direction"],
            "protocol": given["protocol"],
            "first_port": first,
            "last_port": last,
            "cidr": given["cidr"] if peer == "cidr" else "",
            "group": peer if peer not in ("", "cidr") else "",
            "note": given["note"],
        }


class GuardForm(forms.Form):
    """Which groups guard a card."""

    security_groups: forms.ModelMultipleChoiceField[SecurityGroup] = forms.ModelMultipleChoiceField(
        label=gettext_lazy("Security groups"),
        queryset=None,
        widget=Ticks,
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["security_groups"].queryset = SecurityGroup.objects.order_by("name")  # type: ignore[attr-defined]
