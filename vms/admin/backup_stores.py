"""Places for backups."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from portal.admin_shown import column, mono, yes_no
from tenants.actors import Actor
from vms.models import BackupStore
from vms.models.backups import StoreKind
from vms.services.backups import store_write


class StoreForm(DeedForm):
    """Everything of a store; its keys are never shown, and stay where nothing is entered."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=40)
    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=StoreKind.choices)
    location = forms.CharField(
        label=gettext_lazy("Where"), max_length=255,
        help_text=gettext_lazy("An absolute folder that workers reach, or https://endpoint/bucket/prefix."),
    )  # fmt: skip
    access_key = forms.CharField(
        label=gettext_lazy("Access key"),
        max_length=200,
        required=False,
        widget=forms.TextInput({"autocomplete": "off"}),
    )
    secret_key = forms.CharField(
        label=gettext_lazy("Secret key"), max_length=200, required=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}), help_text=gettext_lazy("Empty: as it is."),
    )  # fmt: skip
    enabled = forms.BooleanField(
        label=gettext_lazy("Takes the backups of projects that have none yet"), required=False, initial=True
    )

    def __init__(self, *args: Any, row: BackupStore | None = None, **kwargs: Any) -> None:
        if row is not None:
            kwargs["initial"] = {name: getattr(row, name) for name in ("name", "kind", "location", "enabled")}
        super().__init__(*args, row=row, **kwargs)


@admin.register(BackupStore)
class BackupStoreAdmin(ServiceAdmin):
    """Where backups are kept."""

    plural = gettext_lazy("Backup stores")
    lede = gettext_lazy(
        "Places for backups that are no host's storage. Each project has an encrypted part of its own there."
    )
    list_display = ("name", "kind", "shown_location", "takes")
    search_fields = ("name", "location")
    ordering = ("name",)
    fieldsets = ((None, {"fields": ("name", "kind", "shown_location", "takes")}),)

    shown_location = column("location", gettext_lazy("Where"), mono)
    takes = column("enabled", gettext_lazy("Takes new projects"), yes_no)

    @deed(
        gettext_lazy("Add a store"),
        explain=gettext_lazy("A place for backups. Of those that are enabled the oldest takes new projects."),
        icon="plus", form=StoreForm, adds=True,
    )  # fmt: skip
    def add(self, row: None, actor: Actor, answers: dict[str, Any]) -> str:
        return _("%s takes backups now.") % store_write(None, actor=actor, **answers)

    @deed(
        gettext_lazy("Edit"),
        explain=gettext_lazy("Backups that are there stay there."),
        icon="pencil", form=StoreForm, foresee=lambda self, store, actor: Forecast(True, _("is changed")),
    )  # fmt: skip
    def edit(self, store: BackupStore, actor: Actor, answers: dict[str, Any]) -> str:
        return _("%s was changed.") % store_write(store, actor=actor, **answers)
