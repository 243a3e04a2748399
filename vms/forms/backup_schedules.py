"""Forms about backups by the clock."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from portal.core.ids import uuid_or_none
from tenants.actors import Actor
from vms.forms.guests import TagsField
from vms.models import BackupSchedule, Guest
from vms.models.backup_schedules import Every
from vms.selectors.guests import guests_visible
from vms.services.backups.retention import KEEP_MAX, KEPT, Keep
from vms.services.backups.schedules import FULL_MAX, WINDOW_MAX, ScheduleSpec, schedule_spec
from vms.services.power_schedules import zones

LISTED_MAX = 20_000


class MachinesField(forms.CharField):
    """Machines by their names or ids, since there may be thousands; becomes a tuple of those that the actor reaches."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            label=_("Machines"), required=False, max_length=LISTED_MAX, help_text=_("Their names, with a space between."),
            widget=forms.TextInput({"autocapitalize": "none", "spellcheck": "false"}), **kwargs,
        )  # fmt: skip
        self.rows: QuerySet[Guest] | None = None

    def clean(self, value: Any) -> tuple[Guest, ...]:
        words = dict.fromkeys(str(super().clean(value)).replace(",", " ").split())
        assert self.rows is not None
        ids = {pk for word in words if (pk := uuid_or_none(word)) is not None}
        found = [*self.rows.filter(name__in=words), *self.rows.filter(pk__in=ids)]
        known = {guest.name for guest in found} | {str(guest.pk) for guest in found}
        for word in words:
            if word not in known:
                raise forms.ValidationError(_("There is no machine of the name %(name)s."), params={"name": word})
        return tuple({guest.pk: guest for guest in found}.values())


def _count(label: Any, **more: Any) -> forms.IntegerField:
    return forms.IntegerField(label=label, min_value=0, max_value=KEEP_MAX, **more)


class BackupScheduleForm(forms.Form):
    """When, of which machines, and how many stay."""

    name = forms.CharField(label=_("Name"), max_length=63, help_text=_("Small letters, digits and dashes."))
    guests = MachinesField()
    tags = TagsField()
    every = forms.ChoiceField(label=_("How often"), choices=Every.choices, widget=Choice)
    hour = forms.IntegerField(
        label=_("At which hour"), min_value=0, max_value=23, help_text=_("For days, weeks and months: 1 is one in the morning.")
    )  # fmt: skip
    cron = forms.CharField(
        label=_("Cron line"), max_length=100, required=False,
        widget=forms.TextInput(attrs={"class": "mono", "autocomplete": "off", "spellcheck": "false"}),
        help_text=_("For that alone: 0 22 * * 1-5 is 22:00 on working days. Once an hour at most."),
    )  # fmt: skip
    timezone = forms.ChoiceField(label=_("Time zone"), widget=Choice)
    window_minutes = forms.IntegerField(
        label=_("Begin within minutes"), min_value=0, max_value=WINDOW_MAX,
        help_text=_("Machines begin spread over so many minutes, each always at the same place."),
    )  # fmt: skip
    full_every = forms.IntegerField(
        label=_("Read all of it for one of"), min_value=0, max_value=FULL_MAX,
        help_text=_("0: whenever it is not known what changed. 1: always. Each backup is whole, however it was read."),
    )  # fmt: skip
    keep_last = _count(
        _("Keep the last"), help_text=_("Of each machine. At least the newest that is whole always stays.")
    )
    keep_hourly = _count(_("Keep one an hour, for hours"))
    keep_daily = _count(_("Keep one a day, for days"))
    keep_weekly = _count(_("Keep one a week, for weeks"))
    keep_monthly = _count(_("Keep one a month, for months"))
    enabled = forms.BooleanField(label=_("It is on"), required=False)

    def __init__(self, *args: Any, actor: Actor, schedule: BackupSchedule | None = None, **kwargs: Any) -> None:
        assert actor.tenant is not None
        spec = schedule_spec(schedule) if schedule is not None else ScheduleSpec("", timezone=actor.tenant.timezone)
        kwargs["initial"] = {**_initial(spec), **kwargs.pop("initial", {})}
        super().__init__(*args, **kwargs)
        zone, guests = self.fields["timezone"], self.fields["guests"]
        assert isinstance(zone, forms.ChoiceField)
        assert isinstance(guests, MachinesField)
        zone.choices = [(name, name) for name in sorted(zones())]
        had = [guest.pk for guest in spec.guests]  # one of these may be in the bin by now
        guests.rows = guests_visible(actor).filter(Q(binned_at=None) | Q(pk__in=had))

    def spec(self) -> ScheduleSpec:
        """The wish, for ``backup_schedule_create``."""
        given = self.cleaned_data
        keep = Keep(**{name: given[f"keep_{name}"] for name in KEPT})
        return ScheduleSpec(keep=keep, **{name: value for name, value in given.items() if not name.startswith("keep_")})


def _initial(spec: ScheduleSpec) -> dict[str, Any]:
    """The fields as the schedule has them."""
    counts = {f"keep_{name}": count for name, count in asdict(spec.keep).items()}
    names = ("name", "every", "hour", "cron", "timezone", "window_minutes", "full_every", "enabled")
    return {
        **{name: getattr(spec, name) for name in names},
        **counts,
        "cron": spec.cron if spec.every == Every.CRON else "",
        "guests": " ".join(guest.name for guest in spec.guests),
        "tags": " ".join(spec.tags),
    }
