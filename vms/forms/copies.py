"""Forms about copies of disks as they were at one moment."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice, Ticks
from tenants.actors import Actor
from vms.forms.volumes import MachineField, reachable
from vms.models import Flavor, Snapshot, SnapshotDisk
from vms.services.copies import CloneSpec


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


class CloneForm(forms.Form):
    """Another machine like one that is there."""

    name = _name()
    snapshot = forms.ChoiceField(label=_("Its disks"), required=False, widget=Choice)
    flavor: forms.ModelChoiceField[Flavor] = forms.ModelChoiceField(
        None, label=_("Size"), widget=Choice, empty_label=None
    )
    volumes = forms.TypedMultipleChoiceField(label=_("Further disks"), coerce=int, required=False, widget=Ticks)
    start = forms.BooleanField(label=_("Start it"), required=False)

    def __init__(self, *args: Any, snapshots: list[Snapshot], disks: list[SnapshotDisk], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.snapshots = {str(snapshot.pk): snapshot for snapshot in snapshots}
        flavors, moments = self.fields["flavor"], self.fields["snapshot"]
        assert isinstance(flavors, forms.ModelChoiceField)
        assert isinstance(moments, forms.ChoiceField)
        flavors.queryset = Flavor.objects.filter(enabled=True)
        then = [(pk, gettext("As they were in %s") % snapshot.name) for pk, snapshot in self.snapshots.items()]
        moments.choices = [("", gettext("As they are now")), *then]
        if not snapshots and not self.data.get("snapshot"):
            del self.fields["snapshot"]
        further = [(disk.position, f"{disk.volume.name} · {disk.size_gib} GiB") for disk in disks if disk.position]
        if further:
            self.fields["volumes"].choices = further  # type: ignore[attr-defined]
        else:
            del self.fields["volumes"]

    def spec(self) -> CloneSpec:
        """The wish, for ``guest_clone``."""
        words = self.cleaned_data
        return CloneSpec(
            name=words["name"],
            snapshot=self.snapshots.get(words.get("snapshot", "")),
            flavor=words["flavor"],
            volumes=frozenset(words["volumes"]) if "volumes" in words else None,
            start=words["start"],
        )


class DiskForm(forms.Form):
    """One disk of several."""

    position = forms.TypedChoiceField(label=_("Disk"), coerce=int, widget=Choice)

    def __init__(self, *args: Any, disks: list[SnapshotDisk], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["position"]
        assert isinstance(field, forms.TypedChoiceField)
        field.choices = [(disk.position, f"{disk.volume.name} · {disk.size_gib} GiB") for disk in disks]


class CaptureForm(DiskForm):
    """An image of one disk."""

    name = forms.CharField(label=_("Name"), max_length=100)
    field_order = ("name", "position")
