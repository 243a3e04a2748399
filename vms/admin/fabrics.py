"""Fabrics: where they are told of networks, and what their last test found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from portal.admin_shown import Note, Panel, column, labelled, moment, mono, state
from tenants.actors import Actor
from vms.admin.shown import listed
from vms.models import Fabric, Host
from vms.models.fabrics import TUNNEL_MTU
from vms.services.fabrics import fabric_test, fabric_write


class FabricForm(DeedForm):
    """Where it is, with which key, and where it meets the operator's own network."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=40, help_text=gettext_lazy("Small letters, digits, dots and hyphens.")
    )
    northbound = forms.CharField(
        label=gettext_lazy("Northbound database"), max_length=255,
        help_text=gettext_lazy("Such as ssl:192.0.2.1:6641; several apart by commas."),
    )  # fmt: skip
    southbound = forms.CharField(
        label=gettext_lazy("Southbound database"), max_length=255,
        help_text=gettext_lazy("Such as ssl:192.0.2.1:6642. Only tests read it, to see which hosts are there."),
    )  # fmt: skip
    pki = forms.CharField(
        label=gettext_lazy("Folder of the key"), max_length=200, required=False,
        help_text=gettext_lazy("Beside the portal, with clientkey.pem, clientcert.pem and cacert.pem."),
    )  # fmt: skip
    mtu = forms.IntegerField(
        label=gettext_lazy("Bytes in a tunnel"), min_value=1280, max_value=8942, initial=TUNNEL_MTU
    )
    resolvers = forms.CharField(
        label=gettext_lazy("Name servers"), max_length=200, required=False,
        help_text=gettext_lazy("Apart by spaces; for networks that name none. The fabric itself knows machines alone."),
    )  # fmt: skip
    physnet = forms.CharField(
        label=gettext_lazy("Outer network"), max_length=40, required=False,
        help_text=gettext_lazy("As ovn-bridge-mappings calls it. Left empty, only isolated networks can be made."),
    )  # fmt: skip
    outer_address = forms.CharField(
        label=gettext_lazy("Address there"), max_length=18, required=False,
        help_text=gettext_lazy("With the length of its range, such as 192.0.2.5/24; all machines go out by it."),
    )  # fmt: skip
    outer_gateway = forms.CharField(label=gettext_lazy("Gateway there"), max_length=15, required=False)
    carriers = forms.CharField(
        label=gettext_lazy("Hosts that carry the way out"), max_length=520, required=False,
        help_text=gettext_lazy("By their names in OVN, apart by spaces, the preferred first."),
    )  # fmt: skip
    enabled = forms.BooleanField(label=gettext_lazy("In service"), required=False, initial=True)

    def __init__(self, *args: Any, row: Fabric | None = None, **kwargs: Any) -> None:
        if row is not None:
            known = {name: getattr(row, name) for name in self.base_fields}
            kwargs["initial"] = known | {"resolvers": " ".join(row.resolvers), "carriers": " ".join(row.carriers)}
        super().__init__(*args, row=row, **kwargs)

    def clean_resolvers(self) -> list[str]:
        """Addresses, in their order."""
        return _words(self.cleaned_data["resolvers"])

    def clean_carriers(self) -> list[str]:
        """Names, in their order."""
        return _words(self.cleaned_data["carriers"])


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


@admin.register(Fabric)
class FabricAdmin(ServiceAdmin):
    """What carries networks over many hosts."""

    plural = gettext_lazy("Fabrics")
    lede = gettext_lazy(
        "OVN carries networks over all hosts of a pool, so machines of one network meet wherever they are. A pool without a"
        " fabric has its hosts' own bridges."
    )
    list_display = ("name", "shown_state", "pool_count", "host_count", "heard")
    search_fields = ("name",)
    ordering = ("name",)
    fieldsets = (
        (gettext_lazy("Now"), {"fields": ("shown_state", "heard", "problem", "northd", "findings")}),
        (gettext_lazy("How we reach it"), {"fields": ("shown_northbound", "shown_southbound", "folder")}),
        (
            gettext_lazy("What it carries"),
            {"fields": ("tunnel", "name_servers", "outer_network", "address", "gateway", "shown_carriers")},
        ),
    )

    heard = moment("seen_at", gettext_lazy("Heard"))
    findings = column("notes", gettext_lazy("What the test found"), listed)
    shown_northbound = column("northbound", gettext_lazy("Northbound database"), mono)
    shown_southbound = column("southbound", gettext_lazy("Southbound database"), mono)
    folder = column("pki", gettext_lazy("Folder of the key"), mono)
    tunnel = column("mtu", gettext_lazy("Bytes in a tunnel"))
    outer_network = column("physnet", gettext_lazy("Outer network"))
    address = column("outer_address", gettext_lazy("Address there"), mono)
    gateway = column("outer_gateway", gettext_lazy("Gateway there"), mono)
    name_servers = column("resolvers", gettext_lazy("Name servers"), listed)
    shown_carriers = column("carriers", gettext_lazy("Hosts that carry the way out"), listed)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Fabric]:
        rows: QuerySet[Fabric] = super().get_queryset(request)
        return rows.annotate(pools_number=Count("pools", distinct=True))

    @admin.display(description=gettext_lazy("State"))
    def shown_state(self, fabric: Fabric) -> str:
        if not fabric.enabled:
            return state("stopped", _("Out of service"))
        if fabric.problem:
            return state("error", _("Has a problem"))
        return state("running", _("In service")) if fabric.seen_at else state("unknown", _("Not tested yet"))

    @admin.display(description=gettext_lazy("Pools"), ordering="pools_number")
    def pool_count(self, fabric: Any) -> int:
        return int(fabric.pools_number)

    @admin.display(description=gettext_lazy("Hosts in it"))
    def host_count(self, fabric: Fabric) -> int:
        return len(fabric.joined)

    @admin.display(description=gettext_lazy("Version of northd"))
    def northd(self, fabric: Fabric) -> str:
        return str(fabric.facts.get("northd", ""))

    def notes(self, fabric: Fabric) -> Iterable[Note]:
        if fabric.problem:
            yield Note("red", _("The last test failed, or it fell silent."), fabric.problem)
        yield Note(
            "amber", _("No card's speed is limited on a fabric."),
            _("IPv6 is carried on none, and a card's traffic is not told apart by whether it came from outside."),
        )  # fmt: skip

    def panels(self, fabric: Fabric) -> Iterable[Panel]:
        yield Panel(
            _("Hosts"),
            [_("Name"), _("Pool"), _("In it")],
            [
                (labelled(host), str(host.pool), _("Yes") if str(host.pk) in fabric.joined else _("No"))
                for host in Host.objects.filter(pool__fabric=fabric).select_related("pool").order_by("name")
            ],
            _("No pool has it: put one on it, on the pool's page."),
        )

    @deed(
        gettext_lazy("Add a fabric"),
        explain=gettext_lazy("Writes it down and has a worker test it. Pools of hosts can be put on it from then on."),
        icon="plus", form=FabricForm, adds=True,
    )  # fmt: skip
    def add(self, row: None, actor: Actor, answers: dict[str, Any]) -> str:
        fabric, _operation = fabric_write(None, actor=actor, **answers)
        return _("%s is written down and being tested.") % fabric

    @deed(
        gettext_lazy("Edit"),
        explain=gettext_lazy("While networks stand on it, only its name, addresses, key and service can be changed."),
        icon="pencil", form=FabricForm,
        foresee=lambda self, fabric, actor: Forecast(True, _("is changed and tested")),
    )  # fmt: skip
    def edit(self, fabric: Fabric, actor: Actor, answers: dict[str, Any]) -> str:
        fabric, _operation = fabric_write(fabric, actor=actor, **answers)
        return _("%s is changed and being tested.") % fabric

    @deed(
        gettext_lazy("Test"),
        explain=gettext_lazy("A worker connects, sees whether it follows what it is told, and which hosts are in it."),
        icon="plug-connected", many=True,
        foresee=lambda self, fabric, actor: Forecast(True, _("is connected to and tested")),
    )  # fmt: skip
    def test(self, fabric: Fabric, actor: Actor, answers: dict[str, Any]) -> str:
        fabric_test(fabric, actor=actor)
        return _("%s is being tested; its page shows what was found.") % fabric
