"""A tenant's limits as operators see and change them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django import forms
from django.conf import settings
from django.utils.html import format_html
from django.utils.translation import gettext as _

from portal.admin_deeds import DeedForm
from portal.admin_shown import Cell, Panel, headed
from portal.core.clock import now
from portal.core.errors import PortalError
from portal.templatetags.portal_ui import gauge, when
from tenants.actors import Actor
from tenants.models import Quota, Tenant
from tenants.services.quota import (
    LIMIT_MAX,
    RESOURCES,
    Kind,
    hard_limit,
    kind_of,
    quota_set,
    resource_name,
    soft_hard_at,
)
from tenants.shapes import place_of

SOFT: Final = "soft:"
"""Before the resource, in the name of a soft limit's field."""
type Answers = Mapping[str, int | None]


class QuotaForm(DeedForm):
    """A limit for every resource and a soft limit for what is in use for a time, empty for none; what is so now beside it."""

    in_pairs = True

    def __init__(self, *args: Any, row: Tenant | None = None, **kwargs: Any) -> None:
        super().__init__(*args, row=row, **kwargs)
        known = {quota.resource: quota for quota in Quota.objects.filter(tenant=row)}
        missing = [Quota(resource=resource) for resource in RESOURCES if resource not in known]
        for quota in sorted([*known.values(), *missing], key=place_of):
            label = headed(resource_name(quota.resource))
            self.fields[quota.resource] = _field(label, quota.limit, _limit_words(quota))
            if kind_of(quota.resource) == Kind.HELD:
                soft = _("%s, soft limit") % label
                self.fields[f"{SOFT}{quota.resource}"] = _field(soft, quota.soft_limit, _soft_words(quota))

    def clean(self) -> dict[str, Any]:
        """What differs from what the form showed: a limit that somebody else set meanwhile is not set back."""
        said: dict[str, Any] = super().clean() or {}
        return {name: limit for name, limit in said.items() if name in self.changed_data}

    def refuse(self, error: PortalError) -> None:
        """The service knows the soft limit of a resource as ``/soft/<resource>``."""
        placed = [(f"{SOFT}{wrong.pointer.removeprefix('/soft/')}", wrong.message) for wrong in error.errors]
        if not placed or any(name not in self.fields for name, _words in placed):
            super().refuse(error)
            return
        for name, words in placed:
            self.add_error(name, words)


def quota_change(tenant: Tenant, answers: Answers, *, actor: Actor) -> str:
    """Set what the form was answered; what changed, in words."""
    before = _limits(tenant)
    limits = {name: limit for name, limit in answers.items() if not name.startswith(SOFT)}
    soft = {name.removeprefix(SOFT): limit for name, limit in answers.items() if name.startswith(SOFT)}
    quota_set(tenant, limits, soft=soft, actor=actor)
    changed = [
        f"{name} {_words(before.get(name))} → {_words(limit)}"
        for name, limit in _limits(tenant).items()
        if limit != before.get(name)
    ]
    return ", ".join(changed) or _("Nothing was changed.")


def quota_panel(tenant: Tenant) -> Panel:
    """What a tenant uses and may use; when a soft limit binds."""
    rows = sorted(Quota.objects.filter(tenant=tenant), key=place_of)
    heads = [_("Resource"), _("In use"), _("Soft limit"), _("Limit"), ""]
    return Panel(_("Quota"), heads, [_line(row) for row in rows], _("No quota has been set up: nothing can be made."))


def _limits(tenant: Tenant) -> dict[str, int | None]:
    """Limits and soft limits by their names in words."""
    return dict(_named(Quota.objects.filter(tenant=tenant)))


def _named(rows: Iterable[Quota]) -> Iterable[tuple[str, int | None]]:
    for row in sorted(rows, key=place_of):
        name = resource_name(row.resource)
        yield name, row.limit
        yield _("%s (soft)") % name, row.soft_limit


def _words(limit: int | None) -> str:
    return _("no limit") if limit is None else str(limit)


def _field(label: str, limit: int | None, words: str) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        min_value=0,
        max_value=LIMIT_MAX,
        required=False,
        initial=limit,
        help_text=words,
        show_hidden_initial=True,
    )


def _limit_words(quota: Quota) -> str:
    limit = _words(quota.limit)
    if kind_of(quota.resource) != Kind.HELD:
        return _("Limit now: %s. Empty: no limit.") % limit
    return _("%(used)d in use; limit now: %(limit)s. Empty: no limit.") % {"used": quota.used, "limit": limit}


def _soft_words(quota: Quota) -> str:
    binds = soft_hard_at(quota)
    if binds is None:
        days = settings.QUOTA_GRACE.days
        return _("Above it people are warned, and %d days later it binds like a limit. Empty: none.") % days
    if binds <= now():
        return _("More has been in use for too long: it binds until less is.")
    return format_html("{} {}", _("More is in use: it binds like a limit from"), when(binds, "date"))


def _line(quota: Quota) -> list[Cell]:
    name, binds = resource_name(quota.resource), soft_hard_at(quota)
    soft: Cell = "–" if quota.soft_limit is None else str(quota.soft_limit)
    if binds is not None:
        soft = format_html("{} · {} {}", soft, _("binds from"), when(binds, "date"))
    used = str(quota.used) if kind_of(quota.resource) == Kind.HELD else "–"
    return [headed(name), used, soft, _limit_shown(quota), _gauge(quota, name)]


def _limit_shown(quota: Quota) -> Cell:
    if quota.grant_until is None or quota.grant_until <= now():
        return _words(quota.limit)
    return format_html("{} · {} {}", _words(hard_limit(quota, now())), _("until"), when(quota.grant_until, "date"))


def _gauge(quota: Quota, name: str) -> str:
    limit = hard_limit(quota, now())
    if not limit or kind_of(quota.resource) != Kind.HELD:
        return ""
    percent = 100 * quota.used / limit
    level = "full" if percent >= 100 else "warn" if percent >= 80 else "ok"
    return gauge(percent, f"{name}: {quota.used} / {limit}", level)
