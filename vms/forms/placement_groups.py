"""Forms about placement groups."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from tenants.actors import Actor
from tenants.policy import Permission
from vms.models import Guest, PlacementGroup

RULES = {
    "apart!": _("Apart: each on a host of its own"),
    "apart": _("Apart as far as possible"),
    "together!": _("Together: all on one host"),
    "together": _("Together as far as possible"),
}
"""What a group can want; with an exclamation mark a machine is rather not made than made elsewhere."""


class PlacementGroupForm(forms.Form):
    """A group to be made."""

    name = forms.CharField(label=_("Name"), max_length=40, help_text=_("Small letters, digits and dashes."))
    rule = forms.ChoiceField(
        label=_("Its machines stand"), widget=Choice, choices=list(RULES.items()), initial="apart!"
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def spec(self) -> dict[str, Any]:
        """What ``placement_group_create`` takes."""
        rule = self.cleaned_data["rule"]
        return {"name": self.cleaned_data["name"], "kind": rule.removesuffix("!"), "strict": rule.endswith("!")}


class PlacementGroupNameForm(forms.Form):
    """Another name for a group."""

    name = forms.CharField(label=_("Name"), max_length=40, help_text=_("Small letters, digits and dashes."))

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class GuestPlacementForm(forms.Form):
    """Which group a machine is in."""

    placement_group: forms.ModelChoiceField[PlacementGroup] = forms.ModelChoiceField(
        None, label=_("Placement group"), required=False, empty_label=_("None"), widget=Choice,
        help_text=_("A machine does not move for it: its host must suit the group already."),
    )  # fmt: skip

    def __init__(self, *args: Any, actor: Actor, guest: Guest | None = None, **kwargs: Any) -> None:
        if guest is not None:
            kwargs["initial"] = {"placement_group": guest.placement_group_id}
        super().__init__(*args, **kwargs)
        field = self.fields["placement_group"]
        assert isinstance(field, forms.ModelChoiceField)
        groups = PlacementGroup.objects.all()
        field.queryset = groups if actor.may(Permission.PLACEMENT_VIEW) else groups.none()

    def spec(self) -> dict[str, Any]:
        """The change, for ``guest_edit``."""
        return {"placement_group": self.cleaned_data["placement_group"]}
