"""Forms about images."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from tenants.actors import Actor
from vms.models import Image
from vms.models.hardware import HARDWARE
from vms.services.images import EDITABLE
from vms.specs import ImageSpec

SYSTEMS = [
    ("debian", "Debian"), ("ubuntu", "Ubuntu"), ("fedora", "Fedora"), ("rocky", "Rocky Linux"), ("alpine", "Alpine"),
    ("windows", "Windows"), ("linux", _("Another Linux")), ("other", _("Something else")),
]  # fmt: skip
INITS = [
    ("cloud-init", "cloud-init"), ("cloudbase-init", "cloudbase-init"), ("none", _("Nothing: no keys, no user data")),
]  # fmt: skip
BUSES = [("virtio", "virtio"), ("scsi", "SCSI"), ("sata", "SATA")]
CARDS = [("virtio", "virtio"), ("e1000e", "Intel e1000e")]
KINDS = [("disk", _("A disk to start from")), ("iso", _("A CD (an ISO file, format raw)"))]


class ImageForm(forms.Form):
    """What is said of an image."""

    MORE: tuple[str, ...] = (*HARDWARE, "init", "default_user", "min_memory_mib", "least_disk_gib")
    """Folded, since most images are like the defaults."""

    name = forms.CharField(label=_("Name"), max_length=100)
    os_family = forms.ChoiceField(label=_("System"), widget=Choice, choices=SYSTEMS, initial="linux")
    os_version = forms.CharField(
        label=_("Version"), max_length=40, required=False, help_text=_("Such as 12, or 24.04 LTS.")
    )
    firmware = forms.ChoiceField(label=_("Firmware"), widget=Choice, choices=[("bios", "BIOS"), ("uefi", "UEFI")])
    secure_boot = forms.BooleanField(
        label=_("Secure Boot"), required=False, help_text=_("UEFI starts only what Microsoft's keys vouch for.")
    )
    tpm = forms.BooleanField(label=_("TPM 2.0"), required=False, help_text=_("Windows 11 asks for one."))
    disk_bus = forms.ChoiceField(
        label=_("First disk"), widget=Choice, choices=BUSES, help_text=_("SATA, where it has no virtio drivers.")
    )
    nic_model = forms.ChoiceField(label=_("Network card"), widget=Choice, choices=CARDS)
    init = forms.ChoiceField(
        label=_("Set up by"), widget=Choice, choices=INITS, help_text=_("What in it reads names, keys and user data.")
    )
    default_user = forms.CharField(
        label=_("User"), max_length=32, initial="root", help_text=_("The account that keys let in to.")
    )
    min_memory_mib = forms.IntegerField(label=_("Least memory (MiB)"), initial=64, min_value=16)
    least_disk_gib = forms.IntegerField(
        label=_("Least disk (GiB)"), initial=0, min_value=0, help_text=_("0: what its own disk takes.")
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class ImageEditForm(ImageForm):
    """What is said of an image that is there."""

    def __init__(self, *args: Any, image: Image, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, initial={name: getattr(image, name) for name in EDITABLE}, actor=actor, **kwargs)
        known = {value for value, _label in SYSTEMS}
        if image.os_family not in known:
            self.fields["os_family"].choices = [*SYSTEMS, (image.os_family, image.os_family)]  # type: ignore[attr-defined]

    def spec(self) -> dict[str, Any]:
        """What ``image_edit`` takes."""
        return {name: self.cleaned_data[name] for name in EDITABLE}


class ImageComingForm(ImageForm):
    """An image that is to come."""

    source_format = forms.ChoiceField(label=_("Format"), widget=Choice, choices=[("qcow2", "qcow2"), ("raw", "raw")])
    kind = forms.ChoiceField(label=_("What it is"), widget=Choice, choices=KINDS, initial="disk")
    MORE = ("kind", *ImageForm.MORE)

    def words(self) -> ImageSpec:
        """What is said of it, as services take it."""
        return ImageSpec(**{name: self.cleaned_data[name] for name in (*EDITABLE, "kind", "source_format")})


class ImageFetchForm(ImageComingForm):
    """An image that a worker fetches."""

    url = forms.CharField(
        label=_("Address"), max_length=2000, help_text=_("http or https; the portal fetches it."),
        widget=forms.URLInput(attrs={"class": "mono", "spellcheck": "false"}),
    )  # fmt: skip
    sha256 = forms.CharField(
        label=_("SHA-256"), min_length=64, max_length=64, widget=forms.TextInput(attrs={"class": "mono"}),
        help_text=_("64 hex digits. Another file is refused."),
    )  # fmt: skip
    field_order = ("url", "sha256", "name", "os_family", "os_version", "source_format")

    def spec(self) -> dict[str, Any]:
        """What ``image_import`` takes."""
        return {"spec": self.words(), "url": self.cleaned_data["url"], "sha256": self.cleaned_data["sha256"]}


class ImageUploadForm(ImageComingForm):
    """An image whose bytes a browser sends."""

    prefix = "upload"
    size = forms.IntegerField(widget=forms.HiddenInput)
    sha256 = forms.CharField(
        label=_("SHA-256"), required=False, max_length=64, widget=forms.TextInput(attrs={"class": "mono"}),
        help_text=_("If you know it: another file is refused."),
    )  # fmt: skip
    MORE = (*ImageComingForm.MORE, "sha256")

    def spec(self) -> dict[str, Any]:
        """What ``upload_create`` takes."""
        return {"spec": self.words(), "size": self.cleaned_data["size"], "sha256": self.cleaned_data["sha256"]}
