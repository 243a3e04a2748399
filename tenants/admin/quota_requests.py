"""Wishes for a larger quota: granted, for good or for a while, or declined in words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import admin
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from portal.admin_shown import column, headed, moment, state
from tenants.actors import Actor
from tenants.models import QuotaRequest, RequestState
from tenants.services.quota import LIMIT_MAX, TEXT_MAX, quota_request_approve, quota_request_decline
from tenants.shapes import amount_label, resource_title

SHAPES = {
    RequestState.PENDING: "building",
    RequestState.APPROVED: "running",
    RequestState.GRANTED: "running",
    RequestState.DECLINED: "error",
    RequestState.WITHDRAWN: "stopped",
}


class ApprovalForm(DeedForm):
    """A number for each limit that was asked for, empty to leave it as it is; the last day; a word to whoever asked."""

    def __init__(self, *args: Any, row: QuotaRequest | None = None, **kwargs: Any) -> None:
        super().__init__(*args, row=row, **kwargs)
        assert row is not None
        self.wanted = row.wanted
        for resource, limit in row.wanted.items():
            self.fields[resource] = forms.IntegerField(
                label=headed(resource_title(resource)[1]), min_value=0, max_value=LIMIT_MAX, required=False, initial=limit,
                help_text=_("%d is asked for. Empty: stays as it is.") % limit,
            )  # fmt: skip
        self.fields["until"] = forms.DateField(
            label=_("Until"), required=False, widget=forms.DateInput(attrs={"type": "date"}),
            initial=row.wanted_until.date() if row.wanted_until else None,
            help_text=_("The last day, in the tenant's time zone; empty is for good. Nothing that runs is stopped then."),
        )  # fmt: skip
        self.fields["answer"] = forms.CharField(label=_("Answer"), max_length=TEXT_MAX, required=False)


class RefusalForm(DeedForm):
    """Why not."""

    answer = forms.CharField(
        label=gettext_lazy("Answer"), max_length=TEXT_MAX, help_text=gettext_lazy("Whoever asked reads it.")
    )


def _waits(word: Any) -> Any:
    def forecast(self: Any, request: QuotaRequest, actor: Actor) -> Forecast:
        if request.state != RequestState.PENDING:
            return Forecast(False, _("is decided already"))
        return Forecast(True, str(word))

    return forecast


def _amounts(limits: dict[str, int] | None) -> str:
    return ", ".join(f"{resource_title(name)[1]} {amount_label(name, limit)}" for name, limit in (limits or {}).items())


@admin.register(QuotaRequest)
class QuotaRequestAdmin(ServiceAdmin):
    """Wishes for a larger quota."""

    plural = gettext_lazy("Quota requests")
    lede = gettext_lazy("What tenants need more of, and why. A grant ends by itself and stops nothing that runs.")
    list_display = ("wishes", "tenant", "reason_shown", "shown_state", "made", "ends")
    list_filter = ("state",)
    list_select_related = ("tenant", "asked_by")
    search_fields = ("tenant__slug", "tenant__name", "reason")
    ordering = ("-created_at",)
    fieldsets = (
        (None, {"fields": ("tenant", "shown_state", "wishes", "reason_shown", "asked_by", "made", "needed")}),
        (gettext_lazy("Answer"), {"fields": ("gifts", "ends", "answer_shown", "decided_by", "decided")}),
    )

    wishes = column("wanted", gettext_lazy("Wanted"), _amounts)
    gifts = column("given", gettext_lazy("Given"), _amounts)
    reason_shown = column("reason", gettext_lazy("Reason"))
    answer_shown = column("answer", gettext_lazy("Answer"))
    made = moment("created_at", gettext_lazy("Asked"))
    needed = moment("wanted_until", gettext_lazy("Needed until"), "date")
    ends = moment("until", gettext_lazy("Granted until"), "date")
    decided = moment("decided_at", gettext_lazy("Decided"))

    def heading(self, row: QuotaRequest) -> str:
        return _("%(tenant)s: %(wanted)s") % {"tenant": row.tenant.name, "wanted": _amounts(row.wanted)}

    @admin.display(description=gettext_lazy("State"), ordering="state")
    def shown_state(self, request: QuotaRequest) -> str:
        known = RequestState(request.state)
        return state(SHAPES[known], known.label)

    def links(self, row: QuotaRequest) -> Iterable[tuple[str, Any, str]]:
        yield reverse("admin:tenants_tenant_change", args=[row.tenant_id]), _("The tenant"), "users"

    @deed(
        gettext_lazy("Grant"),
        explain=gettext_lazy("Raises the limits, for good or until a day; fewer or lower ones are fine. Whoever asked is told."),
        icon="check", form=ApprovalForm, foresee=_waits(gettext_lazy("the limits are raised, and whoever asked is told")),
    )  # fmt: skip
    def approve(self, request: QuotaRequest, actor: Actor, answers: dict[str, Any]) -> str:
        day, limits = answers["until"], {name: answers[name] for name in request.wanted if answers[name] is not None}
        zone = ZoneInfo(request.tenant.timezone)
        until = datetime.combine(day + timedelta(days=1), time.min, zone) if day else None
        quota_request_approve(request, limits=limits, until=until, answer=answers["answer"], actor=actor)
        return _("Granted: %s.") % _amounts(limits)

    @deed(
        gettext_lazy("Decline"),
        explain=gettext_lazy("Leaves the quota as it is; whoever asked reads your words."),
        icon="x", form=RefusalForm, foresee=_waits(gettext_lazy("the quota stays as it is, and whoever asked is told")),
    )  # fmt: skip
    def decline(self, request: QuotaRequest, actor: Actor, answers: dict[str, Any]) -> str:
        quota_request_decline(request, answer=answers["answer"], actor=actor)
        return _("Declined.")
