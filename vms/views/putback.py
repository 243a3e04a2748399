"""A machine goes back to a backup: the dialog says what becomes of each disk before anybody agrees to it."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from portal.core.errors import PortalError
from portal.core.htmx import part_template
from portal.core.units import gib_label
from tenants.pages import page
from tenants.policy import Permission
from tenants.services.quota import Kind, kind_of
from tenants.types import HttpRequest
from vms.forms.putback import PutBackForm
from vms.models import Backup
from vms.selectors.backups import backups_visible
from vms.services import putback as services
from vms.services.putback import Becomes, Fate, Outlook
from vms.states import OFF
from vms.views.guest_create import before_after
from vms.views.guest_life import refusal_words

BECOMES: Final[dict[Becomes, str | Promise]] = {
    Becomes.REPLACED: gettext_lazy("becomes what the backup holds"),
    Becomes.RETURNS: gettext_lazy("comes back: the machine does not have it any more"),
    Becomes.STAYS: gettext_lazy("stays as it is"),
}


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.BACKUP_MANAGE)
def backup_put_back(request: HttpRequest, tenant: str, backup_id: UUID) -> HttpResponse:
    """Say what becomes of each disk; then, with the machine's name typed, put them back."""
    rows = backups_visible(request.actor).filter(guest__isnull=False)
    backup: Backup = get_object_or_404(rows, pk=backup_id)
    guest = backup.guest
    assert guest is not None
    posted, error = request.method == "POST", ""
    form = PutBackForm(_given(request, backup), backup=backup, is_off=guest.seen_power in OFF)
    valid = form.is_valid()
    if posted and request.POST.get("typed", "").strip() != guest.name:
        error = _("That is not its name. Nothing was changed.")
    elif posted and valid:
        try:
            services.backup_put_back(backup, actor=request.actor, **form.words())
        except PortalError as refused:
            error = refusal_words(refused)
        else:
            messages.success(request, _("Restoring %s.") % guest.name)
            return redirect("vms:guest_detail", tenant, guest.pk)
    context = {
        "form": form,
        "backup": backup,
        "guest": guest,
        "path": request.path,
        "back": {"url": reverse("vms:guest_detail", args=[tenant, guest.pk]) + "?tab=backups", "label": guest.name},
        "error": error,
        **_forecast(request, backup, form),
    }
    template = part_template(request, "vms/backup_put_back.html", default="dialog", parts=("forecast",))
    return render(request, template, context, status=422 if posted else 200)


def _given(request: HttpRequest, backup: Backup) -> Any:
    """What was sent, or what is chosen already when the dialog opens: all disks, and nothing lost."""
    if request.method == "POST":
        return request.POST
    return request.GET if "part" in request.GET else {"disks": [disk.position for disk in backup.disks.all()]}


def _forecast(request: HttpRequest, backup: Backup, form: PutBackForm) -> dict[str, Any]:
    """What it would do. That a machine runs is nothing against it here: the box beside it says so."""
    if not form.is_valid():
        return {"reasons": [_("Choose at least one disk.")], "fits": False}
    outlook = services.put_back_foresee(backup, actor=request.actor, **{**form.words(), "stop": True})
    return {
        "fates": [_fate_shown(fate, dropped=not form.words()["keep"]) for fate in outlook.fates],
        "built_otherwise": outlook.built_otherwise,
        "twins": _twins_shown(outlook.fates),
        "quota": _lines(outlook),
        "price": outlook.fit.price,
        "reasons": [message for _code, message in outlook.fit.reasons],
        "fits": outlook.fit.fits,
    }


def _lines(outlook: Outlook) -> list[dict[str, Any]]:
    """Gauges of what changes and has a limit, or does not fit."""
    lines = (line for line in outlook.fit.quota if line.after != line.before or line.is_short)
    return [
        before_after(line)
        for line in lines
        if line.is_short or (line.limit is not None and kind_of(line.name) != Kind.EACH)
    ]


def _twins_shown(fates: tuple[Fate, ...]) -> list[str]:
    """Each two disks of one descent, once."""
    names = {fate.position: fate.name for fate in fates}
    pairs = [(fate, other) for fate in fates for other in fate.twins if fate.position < other]
    return [
        _("%(one)s (disk %(place)s) and %(other)s (disk %(beside)s)")
        % {"one": fate.name, "place": fate.position, "other": names[other], "beside": other}
        for fate, other in pairs
    ]


def _fate_shown(fate: Fate, *, dropped: bool) -> dict[str, Any]:
    then = ""
    if fate.former:
        then = _("what it is now stays as the volume %s") % fate.former
    elif fate.becomes == Becomes.REPLACED and dropped:
        then = _("what it is now is deleted")
    return {
        "name": fate.name,
        "size_label": gib_label(fate.size_gib),
        "words": BECOMES[fate.becomes],
        "then": then,
        "stays": fate.becomes == Becomes.STAYS,
    }
