"""Forms about the clock: when a machine is switched, and when it ends."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils.translation import gettext_lazy as _

from tenants.actors import Actor
from vms.models.schedules import SwitchAction
from vms.services.power_schedules import zones


class ScheduleForm(forms.Form):
    """Switch it at every moment of a cron line."""

    action = forms.ChoiceField(
        label=_("Do this"), choices=SwitchAction.choices, widget=forms.Select(attrs={"class": "form-select"})
    )
    cron = forms.CharField(
        label=_("When"), max_length=100, initial="0 8 * * 1-5",
        widget=forms.TextInput(attrs={"class": "mono", "autocomplete": "off", "spellcheck": "false"}),
        help_text=_("Minute, hour, day of the month, month, day of the week: 0 8 * * 1-5 is 8:00 on working days."),
    )  # fmt: skip
    timezone = forms.ChoiceField(label=_("Time zone"), widget=forms.Select(attrs={"class": "form-select"}))

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        assert actor.tenant is not None
        super().__init__(*args, **kwargs)
        field = self.fields["timezone"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(zone, zone) for zone in sorted(zones())]
        field.initial = actor.tenant.timezone

    def spec(self) -> dict[str, Any]:
        """The wish, for ``schedule_create``."""
        return self.cleaned_data


class LeaseForm(forms.Form):
    """The last day; empty is never."""

    ends_at = forms.DateField(
        label=_("Until the end of"), required=False, widget=forms.DateInput(attrs={"type": "date"}),
        help_text=_("The last day. Empty: it stays until somebody deletes it."),
    )  # fmt: skip

    def __init__(self, *args: Any, actor: Actor, ends_at: datetime | None = None, **kwargs: Any) -> None:
        assert actor.tenant is not None
        self.zone = ZoneInfo(actor.tenant.timezone)
        super().__init__(*args, **kwargs)
        if ends_at is not None:
            self.fields["ends_at"].initial = ends_at.astimezone(self.zone).date()

    def spec(self) -> dict[str, Any]:
        """The wish, for ``guest_lease``: the last minute of that day, as the project's clocks show it."""
        day = self.cleaned_data["ends_at"]
        return {"ends_at": datetime.combine(day, time(23, 59), self.zone) if day is not None else None}
