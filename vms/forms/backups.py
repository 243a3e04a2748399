"""Forms about backups."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from tenants.actors import Actor
from vms.forms.guests import TagsField
from vms.forms.volumes import MachineField, reachable
from vms.models import Backup, Flavor


class BackupForm(forms.Form):
    """A backup to be made."""

    guest = MachineField(help_text=_("All its disks at one moment; it may run on."))
    full = forms.BooleanField(
        label=_("Read all of it, also what has not changed"), required=False,
        help_text=_("Takes longer, and hardly more room: what the store has already is not kept twice."),
    )  # fmt: skip

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        reachable(self, actor)


class RestoreGuestForm(forms.Form):
    """A new machine of a backup."""

    name = forms.CharField(label=_("Name"), max_length=63, help_text=_("It has addresses of its own."))
    flavor: forms.ModelChoiceField[Flavor] = forms.ModelChoiceField(
        None, label=_("Size"), widget=Choice, empty_label=None
    )
    tags = TagsField()
    start = forms.BooleanField(label=_("Start it"), required=False, initial=True)

    def __init__(self, *args: Any, backup: Backup, **kwargs: Any) -> None:
        kwargs["initial"] = {"name": f"{backup.guest_name[:54]}-restored", "flavor": backup.flavor_id, "start": True}
        super().__init__(*args, **kwargs)
        field = self.fields["flavor"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Flavor.objects.filter(enabled=True)


class RestoreVolumeForm(forms.Form):
    """A volume of one disk of a backup."""

    name = forms.CharField(label=_("Name"), max_length=63)
    position = forms.TypedChoiceField(label=_("Disk"), coerce=int, widget=Choice)
    guest = MachineField(
        required=False, help_text=_("Empty: a volume by itself. Else it is plugged into this machine.")
    )

    def __init__(self, *args: Any, backup: Backup, actor: Actor, **kwargs: Any) -> None:
        kwargs["initial"] = {"name": f"{backup.name[:54]}-disk"}
        kwargs["auto_id"] = "volume-%s"  # beside the other form
        super().__init__(*args, **kwargs)
        reachable(self, actor).required = actor.narrowed
        field = self.fields["position"]
        assert isinstance(field, forms.TypedChoiceField)
        field.choices = [(disk.position, f"{disk.name} · {disk.size_gib} GiB") for disk in backup.disks.all()]
