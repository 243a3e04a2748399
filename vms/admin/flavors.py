"""Flavors: the sizes customers can choose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from portal.admin_shown import Panel, column, labelled, yes_no
from portal.core.units import gib_label, mib_label
from tenants.actors import Actor
from vms.admin.shown import lack_words, words_of
from vms.models import Flavor
from vms.services.flavors import flavor_write
from vms.services.placing import placement_look

NO_LIMIT = gettext_lazy("0 is no limit.")


class FlavorForm(DeedForm):
    """Everything of a flavor; machines that exist keep the size they were made with."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=40, help_text=gettext_lazy("Small letters, digits, dots and hyphens.")
    )
    vcpus = forms.IntegerField(label=gettext_lazy("vCPUs"), min_value=1, max_value=255)
    memory_mib = forms.IntegerField(label=gettext_lazy("Memory, MiB"), min_value=64)
    disk_gib = forms.IntegerField(label=gettext_lazy("Disk, GiB"), min_value=1)
    cpu_percent = forms.IntegerField(
        label=gettext_lazy("Processor time, percent of a core for each vCPU"),
        min_value=0,
        initial=0,
        help_text=NO_LIMIT,
    )
    disk_iops = forms.IntegerField(
        label=gettext_lazy("Disk requests a second"), min_value=0, initial=0, help_text=NO_LIMIT
    )
    disk_mbps = forms.IntegerField(label=gettext_lazy("Disk MiB a second"), min_value=0, initial=0, help_text=NO_LIMIT)
    net_mbit = forms.IntegerField(
        label=gettext_lazy("Network Mbit a second, each way"), min_value=0, initial=0, help_text=NO_LIMIT
    )
    labels = forms.CharField(
        label=gettext_lazy("Needs hosts with"), max_length=700, required=False,
        help_text=gettext_lazy("Labels of hosts, apart by spaces. kvm is a host that accelerates machines."),
    )  # fmt: skip
    enabled = forms.BooleanField(label=gettext_lazy("Offered to customers"), required=False, initial=True)
    sort = forms.IntegerField(
        label=gettext_lazy("Place in the list"), min_value=0, max_value=32767, initial=100,
        help_text=gettext_lazy("Smaller comes first."),
    )  # fmt: skip

    def __init__(self, *args: Any, row: Flavor | None = None, **kwargs: Any) -> None:
        if row is not None:
            known = {name: getattr(row, name) for name in self.base_fields}
            kwargs["initial"] = known | {"labels": " ".join(row.labels)}
        super().__init__(*args, row=row, **kwargs)

    def clean_labels(self) -> list[str]:
        """Words, each once."""
        return words_of(self.cleaned_data["labels"])


@admin.register(Flavor)
class FlavorAdmin(ServiceAdmin):
    """Sizes."""

    plural = gettext_lazy("Flavors")
    lede = gettext_lazy("The sizes customers choose from. Machines keep the size they were made with.")
    list_display = ("name", "vcpus", "memory", "disk", "limits", "offered", "sort")
    list_filter = ("enabled",)
    search_fields = ("name",)
    fieldsets = (
        (gettext_lazy("Size"), {"fields": ("name", "vcpus", "memory", "disk", "offered", "sort")}),
        (gettext_lazy("Limits"), {"fields": ("limits",)}),
        (gettext_lazy("Where it goes"), {"fields": ("needs",)}),
    )

    memory = column("memory_mib", gettext_lazy("Memory"), mib_label)
    disk = column("disk_gib", gettext_lazy("Disk"), gib_label)
    offered = column("enabled", gettext_lazy("Offered"), yes_no)
    needs = column(
        "labels", gettext_lazy("Needs hosts with"), lambda words: " ".join(words) or _("nothing in particular")
    )

    @admin.display(description=gettext_lazy("Limits"))
    def limits(self, flavor: Flavor) -> str:
        found = [
            _("%d%% of a core for each vCPU") % flavor.cpu_percent if flavor.cpu_percent else "",
            _("%d requests/s") % flavor.disk_iops if flavor.disk_iops else "",
            _("%d MiB/s disk") % flavor.disk_mbps if flavor.disk_mbps else "",
            _("%d Mbit/s network") % flavor.net_mbit if flavor.net_mbit else "",
        ]
        return " · ".join(filter(None, found)) or _("None")

    def panels(self, flavor: Flavor) -> Iterable[Panel]:
        look = placement_look(flavor)
        yield Panel(
            _("Where a machine of this size can go now"),
            [_("Host"), _("Pool"), _("Verdict"), _("How many")],
            [
                (
                    labelled(each.host),
                    each.host.pool.name,
                    lack_words(each.lack),
                    str(each.slots) if each.slots else "–",
                )
                for each in look.hosts
            ],
            _("No host is enrolled."),
        )

    @deed(
        gettext_lazy("Add a flavor"),
        explain=gettext_lazy("A new size that customers can choose."),
        icon="plus", form=FlavorForm, adds=True,
    )  # fmt: skip
    def add(self, row: None, actor: Actor, answers: dict[str, Any]) -> str:
        return _("%s can be chosen now.") % flavor_write(None, actor=actor, **answers)

    @deed(
        gettext_lazy("Edit"),
        explain=gettext_lazy("Changes what new machines get. Machines that exist keep their size."),
        icon="pencil", form=FlavorForm,
        foresee=lambda self, flavor, actor: Forecast(True, _("is changed for new machines")),
    )  # fmt: skip
    def edit(self, flavor: Flavor, actor: Actor, answers: dict[str, Any]) -> str:
        changed = [
            f"{name} {getattr(flavor, name)} → {new}" for name, new in answers.items() if getattr(flavor, name) != new
        ]
        if not changed:
            return _("Nothing was changed.")
        flavor_write(flavor, actor=actor, **answers)
        return ", ".join(changed)
