"""Forms about copies of disks as they were at one moment."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from tenants.actors import Actor
from vms.forms.volumes import MachineField, reachable
from vms.models import SnapshotDisk


def _name() -> forms.CharField:
    widget = forms.TextInput({"autocapitalize": "none", "spellcheck": "false"})
    return forms.CharField(label=_("Name"), max_length=63, widget=widget)


class CopyVolumeForm(forms.Form):
    """A volume of one disk of a snapshot."""

    name = _name()
    position = forms.TypedChoiceField(label=_("Disk"), coerce=int, widget=Choice)
    guest = MachineField(
        required=False, help_text=_("Empty: a volume by itself. Else it is plugged into this machine.")
    )

    def __init__(self, *args: Any, disks: list[SnapshotDisk], actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        reachable(self, actor).required = actor.narrowed
        field = self.fields["position"]
        assert isinstance(field, forms.TypedChoiceField)
        field.choices = [(disk.position, f"{disk.volume.name} · {disk.size_gib} GiB") for disk in disks]
