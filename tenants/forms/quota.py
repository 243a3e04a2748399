"""The form that asks for a larger quota."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.clock import now
from tenants.actors import Actor
from tenants.models import Quota
from tenants.services.quota import LIMIT_MAX, TEXT_MAX
from tenants.shapes import is_gib, resource_title

FIRST: Final = ("guests", "vcpus", "memory_mib", "disk_gib")
"""What most people need more of; the rest is folded away."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Limits by resource, why, and until when; None is for good."""

    wanted: dict[str, int]
    reason: str
    until: datetime | None


class QuotaRequestForm(forms.Form):
    """A number for each resource that has a limit; those left empty stay as they are."""

    reason = forms.CharField(
        label=gettext_lazy("What for"), max_length=TEXT_MAX, widget=forms.Textarea(attrs={"rows": 3})
    )
    until = forms.DateField(
        label=gettext_lazy("Until"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text=gettext_lazy("The last day; empty is for good."),
    )

    def __init__(self, *args: Any, actor: Actor, rows: Iterable[Quota], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert actor.tenant is not None
        self.zone = ZoneInfo(actor.tenant.timezone)
        self.limits = {row.resource: row.limit for row in rows if row.limit is not None}
        for resource, limit in self.limits.items():
            unit = " (MiB)" if resource.endswith("memory_mib") else " (GiB)" if is_gib(resource) else ""
            self.fields[resource] = forms.IntegerField(
                label=resource_title(resource)[1] + unit,
                required=False,
                min_value=limit + 1,
                max_value=LIMIT_MAX,
                help_text=_("%d now.") % limit,
            )

    @property
    def first(self) -> list[forms.BoundField]:
        """The fields that stand open."""
        return [self[name] for name in FIRST if name in self.limits]

    @property
    def others(self) -> list[forms.BoundField]:
        """The fields that are folded away."""
        return [self[name] for name in self.limits if name not in FIRST]

    def clean(self) -> dict[str, Any]:
        """Something is asked for, and the last day is not over."""
        said: dict[str, Any] = super().clean() or {}
        if not self.errors and not any(said.get(name) is not None for name in self.limits):
            raise forms.ValidationError(_("Say what is needed: a higher number beside at least one limit."))
        if said.get("until") is not None and self._end(said["until"]) <= now():
            self.add_error("until", _("Choose a day to come."))
        return said

    def _end(self, day: Any) -> datetime:
        return datetime.combine(day + timedelta(days=1), time.min, self.zone)

    def spec(self) -> Wish:
        """What was asked for."""
        said = self.cleaned_data
        wanted = {name: said[name] for name in self.limits if said[name] is not None}
        return Wish(wanted, said["reason"], self._end(said["until"]) if said["until"] else None)
