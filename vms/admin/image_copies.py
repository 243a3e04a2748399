"""Images' copies on hosts: how much of a host's pool they take, and which of them nobody needs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import Forecast, deed
from portal.admin_shown import column, moment, mono
from portal.core.units import MIB, mib_label
from tenants.actors import Actor
from vms.models import ImageCopy
from vms.services.image_copies import copy_evict, copy_is_used


def _goes(self: Any, copy: ImageCopy, actor: Actor) -> Forecast:
    if copy_is_used(copy):
        return Forecast(False, _("disks stand on it"))
    return Forecast(True, _("is taken off %s") % copy.host)


@admin.register(ImageCopy)
class ImageCopyAdmin(ServiceAdmin):
    """Images on hosts."""

    plural = gettext_lazy("Images on hosts")
    lede = gettext_lazy(
        "Disks stand on these copies. One that none stands on goes by itself after a month without use."
    )
    list_display = ("image", "host", "size_shown", "used_shown", "ready")
    list_filter = ("host",)
    list_select_related = ("image", "host")
    search_fields = ("image__name", "host__name", "name")
    ordering = ("host__name", "image__name")
    fieldsets = ((None, {"fields": ("image", "host", "shown_name", "size_shown", "used_shown", "ready")}),)

    shown_name = column("name", gettext_lazy("File"), mono)
    size_shown = column("size", gettext_lazy("Size"), lambda size: mib_label(size // MIB))
    used_shown = moment("used_at", gettext_lazy("Last needed"))

    @admin.display(description=gettext_lazy("Whole"), boolean=True)
    def ready(self, copy: ImageCopy) -> bool:
        return copy.ready_at is not None

    @deed(
        gettext_lazy("Take off the host"),
        explain=gettext_lazy("Frees its room until the next machine of this image. Refused while a disk stands on it."),
        icon="trash", many=True, danger=True, foresee=_goes,
    )  # fmt: skip
    def evict(self, copy: ImageCopy, actor: Actor, answers: dict[str, Any]) -> str:
        copy_evict(copy, actor=actor)
        return _("%s is being taken off its host.") % copy.image
