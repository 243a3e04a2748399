"""Forms about volumes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from portal.core.ids import uuid_or_none
from tenants.actors import Actor
from vms.models import Guest, Image, StorageClass, Volume
from vms.selectors.guests import guests_visible
from vms.selectors.stock import images_offered
from vms.services.volumes.change import BOOT_MAX
from vms.services.volumes.check import LIMIT_MAX
from vms.specs import DISK_MAX_GIB, VolumeSpec


class MachineField(forms.CharField):
    """A machine by its name or id, since there may be thousands; becomes one that the actor reaches, outside the bin."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            label=_("Machine"), max_length=63, widget=forms.TextInput({"autocapitalize": "none", "spellcheck": "false"}),
            **kwargs,
        )  # fmt: skip
        self.rows: QuerySet[Guest] | None = None

    def clean(self, value: Any) -> Guest | None:
        text = super().clean(value)
        if not text:
            return None
        assert self.rows is not None
        pk = uuid_or_none(text)
        guest = self.rows.filter(**({"name": text} if pk is None else {"pk": pk})).first()
        if guest is None:
            raise forms.ValidationError(_("There is no machine of that name."))
        return guest


def reachable(form: forms.Form, actor: Actor) -> MachineField:
    """Let the form's machine be one that ``actor`` reaches."""
    field = form.fields["guest"]
    assert isinstance(field, MachineField)
    field.rows = guests_visible(actor).filter(binned_at=None)
    return field


class VolumeForm(forms.Form):
    """A volume to be made."""

    name = forms.CharField(label=_("Name"), max_length=63, help_text=_("Small letters, digits and dashes."))
    size_gib = forms.IntegerField(label=_("Size in GiB"), initial=10, min_value=1, max_value=DISK_MAX_GIB)
    guest = MachineField(
        required=False,
        help_text=_("A disk is plugged in only on the host where it lies: name its machine, and it is made beside it."),
    )
    storage_class: forms.ModelChoiceField[StorageClass] = forms.ModelChoiceField(
        None, label=_("Class"), required=False, widget=Choice, empty_label=None
    )
    image: forms.ModelChoiceField[Image] = forms.ModelChoiceField(
        None, label=_("Made of"), required=False, widget=Choice, empty_label=_("Nothing: an empty disk")
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choose(self, "storage_class", StorageClass.objects.filter(enabled=True).order_by("-is_default", "name"))
        _choose(self, "image", images_offered())
        reachable(self, actor).required = actor.narrowed

    def spec(self) -> VolumeSpec:
        """What ``volume_create`` takes."""
        return VolumeSpec(**self.cleaned_data)

    def draft(self) -> VolumeSpec | None:
        """As much of it as can be read yet; None before all but its name can."""
        if not self.is_valid() and (set(self.errors) != {"name"} or self.data.get("name")):
            return None
        return VolumeSpec(**{"name": "volume", **self.cleaned_data})


class AttachForm(forms.Form):
    """Where a volume is to be plugged in."""

    guest = MachineField(help_text=_("Its name. It must lie on the same host as the volume."))
    delete_with_guest = forms.BooleanField(label=_("Delete it when the machine is gone for good"), required=False)

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        reachable(self, actor)


class EditForm(forms.Form):
    """What is changed of a volume at once; the boot order only on a machine, what becomes of it only for a data volume."""

    name = forms.CharField(label=_("Name"), max_length=63)
    boot_order = forms.IntegerField(
        label=_("Place in the boot order"), min_value=0, max_value=BOOT_MAX,
        help_text=_("1 is tried first, 0 not at all. Holds from the machine's next start."),
    )  # fmt: skip
    delete_with_guest = forms.BooleanField(label=_("Delete it when its machine is gone for good"), required=False)

    def __init__(self, *args: Any, volume: Volume, **kwargs: Any) -> None:
        kwargs["initial"] = {name: getattr(volume, name) for name in ("name", "boot_order", "delete_with_guest")}
        super().__init__(*args, **kwargs)
        if volume.guest_id is None:
            del self.fields["boot_order"]
        if volume.guest_id is None or volume.is_root:
            del self.fields["delete_with_guest"]
        if volume.is_root:
            del self.fields["name"]


class ExtendForm(forms.Form):
    """How large it is to be."""

    size_gib = forms.IntegerField(label=_("New size in GiB"), min_value=2, max_value=DISK_MAX_GIB)

    def __init__(self, *args: Any, volume: Volume, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["size_gib"].widget.attrs["min"] = volume.size_gib + 1


class LimitsForm(forms.Form):
    """Limits of its own, a second; 0 is none."""

    iops = forms.IntegerField(label=_("Operations a second"), min_value=0, max_value=LIMIT_MAX)
    mbps = forms.IntegerField(label=_("MiB a second"), min_value=0, max_value=LIMIT_MAX)

    def __init__(self, *args: Any, volume: Volume, **kwargs: Any) -> None:
        kwargs["initial"] = {"iops": volume.iops, "mbps": volume.mbps}
        super().__init__(*args, **kwargs)


def _choose(form: forms.Form, name: str, rows: Any) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ModelChoiceField)
    field.queryset = rows
