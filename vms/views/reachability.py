"""Why can't A reach B? A question, and the way with what stops it."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from portal.core.forms import refusals_in
from tenants.pages import page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.reachability import NAMES, ReachForm
from vms.models import Network, SecurityGroup
from vms.reach import Hop, Verdict
from vms.selectors.guests import guests_visible
from vms.selectors.reachability import OUTSIDE, Way, sentence, way_between
from vms.views.group_words import rule_shown

OFFERED: Final = 500
VERDICTS: Final[dict[Verdict, tuple[str, str | Promise]]] = {
    Verdict.PASS: ("running", gettext_lazy("Passes")),
    Verdict.STOP: ("error", gettext_lazy("Stops here")),
    Verdict.UNSURE: ("unknown", gettext_lazy("Cannot be told")),
}
"""The shape beside a verdict, and its word."""


@require_safe
@page(Permission.NETWORK_VIEW)
def reachability(request: HttpRequest, tenant: str) -> HttpResponse:
    """Ask, and read the way hop by hop; the address of the page is the question."""
    begun = {name: request.GET.get(name, "") for name in ReachForm.field_order}
    form = ReachForm(request.GET) if begun["from"] and begun["to"] else ReachForm(initial=begun)
    way = _way(request, form) if form.is_bound and form.is_valid() else None
    guests = guests_visible(request.actor).order_by("name").values_list("name", flat=True)[:OFFERED]
    context = {
        "form": form,
        "names_id": NAMES,
        "names": [OUTSIDE, *guests, *Network.objects.order_by("name").values_list("name", flat=True)],
        "way": _shown(way, tenant) if way is not None else None,
    }
    return render(request, "vms/reachability.html", context, status=422 if form.errors else 200)


def _way(request: HttpRequest, form: ReachForm) -> Way | None:
    words = form.cleaned_data
    with refusals_in(form):
        return way_between(request.actor, words["from"], words["to"], words["protocol"], words["port"])
    return None


def _shown(way: Way, slug: str) -> dict[str, Any]:
    names = {str(pk): name for pk, name in SecurityGroup.objects.values_list("pk", "name")}
    by = way.call.protocol.upper() + (f" {way.call.port}" if way.call.port is not None else "")
    words = {"source": way.source, "target": way.target, "by": by}
    said = {
        True: (
            "green",
            "circle-check",
            _("Nothing that can be seen from here keeps %(source)s from reaching %(target)s by %(by)s."),
        ),
        False: ("red", "x", _("%(source)s does not reach %(target)s by %(by)s.")),
        None: (
            "amber",
            "alert-triangle",
            _("Whether %(source)s reaches %(target)s by %(by)s cannot be told for sure."),
        ),
    }[way.reaches]
    return {
        "tone": said[0],
        "icon": said[1],
        "text": said[2] % words,
        "hops": [_hop(hop, names, slug) for hop in way.hops],
    }


def _hop(hop: Hop, names: dict[str, str], slug: str) -> dict[str, Any]:
    shape, word = VERDICTS[hop.verdict]
    return {
        "shape": shape,
        "word": word,
        "stops": hop.verdict == Verdict.STOP,
        "text": sentence(hop),
        "rule": rule_shown(hop.rule.as_dict(), names) if hop.rule is not None else None,
        "group": hop.group.name if hop.group is not None else "",
        "group_url": reverse("vms:group_detail", args=[slug, hop.group.pk]) if hop.group is not None else "",
    }
