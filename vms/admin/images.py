"""Images: the catalogue customers choose from."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from portal.admin_shown import Note, column, moment, mono, state
from portal.core.units import GIB, MIB, gib_label, mib_label
from portal.templatetags.portal_ui import when
from tenants.actors import Actor
from vms.forms.images import BUSES, CARDS, INITS, KINDS
from vms.models import Image
from vms.models.image_tests import Verdict
from vms.selectors.hardware import hardware_words
from vms.services.image_tests import image_test, image_tested
from vms.services.images import image_delete, image_edit, image_import
from vms.specs import ImageSpec
from vms.states import ImageKind, ImageState

STATES = {
    ImageState.UPLOADING: ("building", gettext_lazy("Uploading")),
    ImageState.IMPORTING: ("building", gettext_lazy("Importing")),
    ImageState.READY: ("running", gettext_lazy("Ready")),
    ImageState.FAILED: ("error", gettext_lazy("Failed")),
    ImageState.DEPRECATED: ("stopped", gettext_lazy("Deprecated")),
    ImageState.DELETING: ("deleting", gettext_lazy("Being deleted")),
}


class ImportForm(DeedForm):
    """Where an image comes from, and how to know it is the right one."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
    url = forms.CharField(
        label=gettext_lazy("Address"), max_length=2000, help_text=gettext_lazy("http or https; a worker fetches it.")
    )
    sha256 = forms.CharField(
        label=gettext_lazy("SHA-256"), max_length=64, min_length=64, widget=forms.TextInput(attrs={"class": "mono"}),
        help_text=gettext_lazy("64 hex digits. Another file is refused."),
    )  # fmt: skip
    source_format = forms.ChoiceField(label=gettext_lazy("Format"), choices=[("qcow2", "qcow2"), ("raw", "raw")])
    os_family = forms.CharField(
        label=gettext_lazy("System"), max_length=24, initial="linux", help_text=gettext_lazy("Such as debian, ubuntu.")
    )
    os_version = forms.CharField(label=gettext_lazy("Version"), max_length=40, required=False)
    kind = forms.ChoiceField(
        label=gettext_lazy("What it is"), choices=[*KINDS, ("drivers", gettext_lazy("The CD with drivers for Windows"))],
        help_text=gettext_lazy("The newest CD with drivers is in every Windows machine that is made from then on."),
    )  # fmt: skip
    firmware = forms.ChoiceField(label=gettext_lazy("Firmware"), choices=[("bios", "BIOS"), ("uefi", "UEFI")])
    secure_boot = forms.BooleanField(label=gettext_lazy("Secure Boot"), required=False)
    tpm = forms.BooleanField(label=gettext_lazy("TPM 2.0"), required=False)
    disk_bus = forms.ChoiceField(label=gettext_lazy("First disk"), choices=BUSES)
    nic_model = forms.ChoiceField(label=gettext_lazy("Network card"), choices=CARDS)
    init = forms.ChoiceField(label=gettext_lazy("Set up by"), choices=INITS)


def _deprecates(on: bool) -> Any:
    def foresee(self: Any, image: Image, actor: Actor) -> Forecast:
        if image.state != (ImageState.READY if on else ImageState.DEPRECATED):
            return Forecast(False, _("is %s") % STATES[ImageState(image.state)][1])
        if on:
            return Forecast(True, _("is offered for new machines no longer"))
        if image.verdict != Verdict.LOGIN:
            return Forecast(
                True, _("is offered for new machines again, though no test boot has reached a login prompt")
            )
        return Forecast(True, _("is offered for new machines again"))

    return foresee


def _starts(self: Any, image: Image, actor: Actor) -> Forecast:
    if image.kind != ImageKind.DISK or image.state not in (ImageState.READY, ImageState.DEPRECATED):
        return Forecast(False, _("is no disk that is ready"))
    return Forecast(True, _("is started once, without a network"))


@admin.register(Image)
class ImageAdmin(ServiceAdmin):
    """Images."""

    plural = gettext_lazy("Images")
    lede = gettext_lazy("What new machines are made from. Imports are checked before anybody can use them.")
    list_display = ("name", "shown_state", "tenant_shown", "system", "file_size", "disk_size", "made")
    list_filter = ("state", "os_family")
    list_select_related = ("tenant",)
    search_fields = ("name", "sha256")
    fieldsets = (
        (gettext_lazy("Now"), {"fields": ("shown_state", "problem", "tenant_shown", "made")}),
        (gettext_lazy("Test boot"), {"fields": ("verdict_shown", "screen", "said")}),
        (
            gettext_lazy("What it is"),
            {"fields": ("kind", "system", "built", "default_user", "file_size", "disk_size", "min_memory", "checksum")},
        ),
    )

    min_memory = column("min_memory_mib", gettext_lazy("Smallest memory"), mib_label)
    checksum = column("sha256", gettext_lazy("SHA-256"), mono)
    made = moment("created_at", gettext_lazy("Added"))

    @admin.display(description=gettext_lazy("State"), ordering="state")
    def shown_state(self, image: Image) -> str:
        return state(*STATES[ImageState(image.state)])

    @admin.display(description=gettext_lazy("Of"), ordering="tenant")
    def tenant_shown(self, image: Image) -> str:
        return str(image.tenant) if image.tenant else _("everybody")

    @admin.display(description=gettext_lazy("System"), ordering="os_family")
    def system(self, image: Image) -> str:
        return f"{image.os_family} {image.os_version}".strip()

    @admin.display(description=gettext_lazy("Machine"))
    def built(self, image: Image) -> str:
        return hardware_words(image)

    @admin.display(description=gettext_lazy("File"), ordering="size")
    def file_size(self, image: Image) -> str:
        return mib_label(image.size // MIB) if image.size else "–"

    @admin.display(description=gettext_lazy("Smallest disk"), ordering="virtual_size")
    def disk_size(self, image: Image) -> str:
        return gib_label(-(-image.virtual_size // GIB)) if image.virtual_size else "–"

    @admin.display(description=gettext_lazy("How it ended"))
    def verdict_shown(self, image: Image) -> str:
        test = image_tested(image)
        return format_html("{} {}", test.get_verdict_display(), when(test.ended_at)) if test is not None else "–"

    @admin.display(description=gettext_lazy("Screen"))
    def screen(self, image: Image) -> str:
        test = image_tested(image)
        if test is None or not test.screen:
            return "–"
        picture = base64.b64encode(bytes(test.screen)).decode()
        return format_html(
            '<img class="gh-shot" src="data:image/png;base64,{}" alt="{}">', picture, _("Its screen at the end")
        )

    @admin.display(description=gettext_lazy("Serial line"))
    def said(self, image: Image) -> str:
        test = image_tested(image)
        return (
            format_html('<pre class="gh-tail" tabindex="0">{}</pre>', test.log)
            if test is not None and test.log
            else "–"
        )

    def notes(self, image: Image) -> Iterable[Note]:
        if image.state == ImageState.READY and image.kind == ImageKind.DISK and image.verdict != Verdict.LOGIN:
            words = Verdict(image.verdict).label if image.verdict else _("Nobody has tried whether it starts.")
            yield Note("amber", _("It is offered, and no test boot has reached a login prompt."), words)
        if image.state == ImageState.FAILED:
            yield Note("red", _("The import failed."), image.problem)

    @deed(
        gettext_lazy("Import an image"),
        explain=gettext_lazy("A worker fetches the file and checks its checksum, format and size before it is offered."),
        icon="plus", form=ImportForm, adds=True,
    )  # fmt: skip
    def fetch(self, row: None, actor: Actor, answers: dict[str, Any]) -> str:
        url, sha256 = answers.pop("url"), answers.pop("sha256")
        image, _operation = image_import(ImageSpec(**answers), url=url, sha256=sha256, actor=actor)
        return _("%s is being imported.") % image

    @deed(
        gettext_lazy("Test boot"),
        explain=gettext_lazy("Starts it once on a host, without a network, until it asks for a name; its screen is kept."),
        icon="player-play", many=True, foresee=_starts,
    )  # fmt: skip
    def test(self, image: Image, actor: Actor, answers: dict[str, Any]) -> str:
        image_test(image, actor=actor)
        return _("%s is being started on a host, to see whether it does.") % image

    @deed(
        gettext_lazy("Deprecate"),
        explain=gettext_lazy("No new machines are made of it; those that exist stay as they are."),
        icon="history", many=True, foresee=_deprecates(on=True),
    )  # fmt: skip
    def deprecate(self, image: Image, actor: Actor, answers: dict[str, Any]) -> str:
        image_edit(image, deprecated=True, actor=actor)
        return _("%s is offered no longer.") % image

    @deed(
        gettext_lazy("Offer again"),
        explain=gettext_lazy("New machines can be made of it again."),
        icon="arrow-back-up", many=True, foresee=_deprecates(on=False),
    )  # fmt: skip
    def offer(self, image: Image, actor: Actor, answers: dict[str, Any]) -> str:
        image_edit(image, deprecated=False, actor=actor)
        return _("%s is offered again.") % image

    @deed(
        gettext_lazy("Delete"),
        explain=gettext_lazy("Removes the image, its file and its copies on hosts. Refused while machines stand on it."),
        icon="trash", danger=True, foresee=lambda self, image, actor: Forecast(True, _("is removed for good")),
    )  # fmt: skip
    def delete(self, image: Image, actor: Actor, answers: dict[str, Any]) -> str:
        image_delete(image, actor=actor)
        return _("%s is being deleted.") % image
