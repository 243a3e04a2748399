"""Storage classes: what customers choose for their disks."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from portal.admin_shown import column, yes_no
from tenants.actors import Actor
from vms.models import StorageClass
from vms.models.volumes import Scrub
from vms.services.storage_classes import storage_class_write

NO_LIMIT = gettext_lazy("0 is no limit.")
MEDIA = [("", gettext_lazy("not said")), ("hdd", "HDD"), ("ssd", "SSD"), ("nvme", "NVMe")]
SCRUBS = [(Scrub.NONE, gettext_lazy("Deleted as they are")), (Scrub.ZERO, gettext_lazy("Overwritten with zeros first"))]


class ClassForm(DeedForm):
    """What may be changed of a class."""

    # Django takes fields out of the class, so that the form keeps its own ``media``, too.
    media = forms.ChoiceField(label=gettext_lazy("Made of"), choices=MEDIA, required=False)  # type: ignore[assignment]
    iops = forms.IntegerField(
        label=gettext_lazy("Requests a second of one volume"),
        min_value=0, max_value=1_000_000, initial=0, help_text=NO_LIMIT,
    )  # fmt: skip
    mbps = forms.IntegerField(
        label=gettext_lazy("MiB a second of one volume"),
        min_value=0, max_value=1_000_000, initial=0, help_text=NO_LIMIT,
    )  # fmt: skip
    scrub = forms.ChoiceField(label=gettext_lazy("Volumes to be deleted"), choices=SCRUBS)
    is_default = forms.BooleanField(
        label=gettext_lazy("The default"), required=False,
        help_text=gettext_lazy("Machines' first disks are made of it. The former default is it no longer."),
    )  # fmt: skip
    enabled = forms.BooleanField(label=gettext_lazy("Offered to customers"), required=False, initial=True)

    def __init__(self, *args: Any, row: StorageClass | None = None, **kwargs: Any) -> None:
        if row is not None:
            kwargs["initial"] = {name: getattr(row, name) for name in self.base_fields}
        super().__init__(*args, row=row, **kwargs)


class NewClassForm(ClassForm):
    """A class, with the name that it keeps."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=40,
        help_text=gettext_lazy("Small letters, digits, dots and hyphens. It keeps it: quotas and bills know it by that."),
    )  # fmt: skip
    field_order = ("name",)


@admin.register(StorageClass)
class StorageClassAdmin(ServiceAdmin):
    """Kinds of disks."""

    plural = gettext_lazy("Storage classes")
    lede = gettext_lazy("The kinds of disks customers choose from; each storage pool serves one.")
    list_display = ("name", "media", "limits", "scrub", "served", "default_shown", "offered")
    list_filter = ("enabled",)
    search_fields = ("name",)
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "media", "served", "default_shown", "offered")}),
        (gettext_lazy("Promises"), {"fields": ("limits", "scrub")}),
    )

    default_shown = column("is_default", gettext_lazy("Default"), yes_no)
    offered = column("enabled", gettext_lazy("Offered"), yes_no)

    def get_queryset(self, request: HttpRequest) -> QuerySet[StorageClass]:
        rows: QuerySet[StorageClass] = super().get_queryset(request)
        return rows.prefetch_related("pools")

    @admin.display(description=gettext_lazy("Served by"))
    def served(self, row: StorageClass) -> str:
        kinds = sorted({str(pool.get_kind_display()) for pool in row.pools.all()})
        return ", ".join(kinds) or _("no pool")

    @admin.display(description=gettext_lazy("Limits of one volume"))
    def limits(self, row: StorageClass) -> str:
        found = [
            _("%d requests/s") % row.iops if row.iops else "",
            _("%d MiB/s disk") % row.mbps if row.mbps else "",
        ]
        return " · ".join(filter(None, found)) or _("None")

    @deed(
        gettext_lazy("Add a storage class"),
        explain=gettext_lazy("A new kind of disk. Give it pools, then customers can choose it."),
        icon="plus", form=NewClassForm, adds=True,
    )  # fmt: skip
    def add(self, row: None, actor: Actor, answers: dict[str, Any]) -> str:
        return _("%s can be chosen once a pool serves it.") % storage_class_write(None, actor=actor, **answers)

    @deed(
        gettext_lazy("Edit"),
        explain=gettext_lazy("Changes limits for machines that start from now on, and how volumes are deleted."),
        icon="pencil", form=ClassForm,
        foresee=lambda self, row, actor: Forecast(True, _("is changed")),
    )  # fmt: skip
    def edit(self, row: StorageClass, actor: Actor, answers: dict[str, Any]) -> str:
        changed = [f"{name} {getattr(row, name)} → {new}" for name, new in answers.items() if getattr(row, name) != new]
        if not changed:
            return _("Nothing was changed.")
        storage_class_write(row, actor=actor, **answers)
        return ", ".join(changed)
