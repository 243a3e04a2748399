"""Security groups: the list, the page of each with its rules, and which of them guard a machine's card."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.core.forms import refusals_in
from portal.core.htmx import part_template
from tenants.pages import confirm, page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.firewall import Direction, Rule
from vms.forms.security_groups import GroupForm, GuardForm, RuleForm
from vms.models import Port, SecurityGroup
from vms.selectors.guests import guests_visible
from vms.selectors.security_groups import groups_listed, guests_guarded
from vms.services.guarding import FromBefore, port_guard
from vms.services.security_groups import group_create as make_group
from vms.services.security_groups import group_delete as forget_group
from vms.services.security_groups import group_edit as change_words
from vms.services.security_groups import group_rules_set
from vms.states import Power
from vms.views.find import guest_or_404, tenant_of
from vms.views.group_words import in_order, rule_mark, rule_shown
from vms.views.parts import PartDialog

GUARD: Final = PartDialog(tab="network", icon="shield")


@require_safe
@page(Permission.NETWORK_VIEW)
def group_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """The project's security groups."""
    return _groups(request, None)


@require_POST
@page(Permission.NETWORK_MANAGE)
def group_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Make a group that lets its machines call everybody; what may call them is said on its page."""
    form = GroupForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form, {"name_taken": "name"}):
            rules = [Rule(direction=Direction.OUT).as_dict()]
            group = make_group(tenant_of(request), actor=request.actor, rules=rules, **form.cleaned_data)
            return redirect("vms:group_detail", tenant, group.pk)
    return _groups(request, form)


@require_safe
@page(Permission.NETWORK_VIEW)
def group_detail(request: HttpRequest, tenant: str, group_id: UUID) -> HttpResponse:
    """One group: its rules, its machines."""
    return _group(request, get_object_or_404(groups_listed(), pk=group_id))


@require_POST
@page(Permission.NETWORK_MANAGE)
def group_rule_add(request: HttpRequest, tenant: str, group_id: UUID) -> HttpResponse:
    """Allow one thing more."""
    group = get_object_or_404(groups_listed(), pk=group_id)
    form = RuleForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form):
            group_rules_set(group, [*group.rules, form.spec()], actor=request.actor)
            return redirect("vms:group_detail", tenant, group.pk)
    return _group(request, group, form)


@require_POST
@page(Permission.NETWORK_MANAGE)
def group_rule_drop(request: HttpRequest, tenant: str, group_id: UUID) -> HttpResponse:
    """Allow one thing less: the rule that is sent, wherever it stands by now."""
    group = get_object_or_404(groups_listed(), pk=group_id)
    left = [rule for rule in group.rules if rule_mark(rule) != request.POST.get("rule")]
    if len(left) != len(group.rules):
        group_rules_set(group, left, actor=request.actor)
    return redirect("vms:group_detail", tenant, group.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.NETWORK_MANAGE)
def group_edit(request: HttpRequest, tenant: str, group_id: UUID) -> HttpResponse:
    """Call it something else."""
    group = get_object_or_404(SecurityGroup, pk=group_id)
    form = GroupForm(
        request.POST if request.method == "POST" else None,
        actor=request.actor,
        initial={"name": group.name, "note": group.note},
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"name_taken": "name"}):
            change_words(group, actor=request.actor, **form.cleaned_data)
            return redirect("vms:group_detail", tenant, group.pk)
    back = {"url": reverse("vms:group_detail", args=[tenant, group.pk]), "label": group.name}
    context = {"form": form, "title": _("Rename %s") % group.name, "button": _("Save"), "back": back}
    template = part_template(request, "vms/security_group_form.html", default="dialog")
    return render(request, template, context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.NETWORK_MANAGE)
def group_delete(request: HttpRequest, tenant: str, group_id: UUID) -> HttpResponse:
    """Forget a group that guards nothing."""
    group = get_object_or_404(SecurityGroup, pk=group_id)
    if request.method == "POST":
        forget_group(group, actor=request.actor)
        messages.success(request, _("%s is deleted.") % group.name)
        return redirect("vms:group_list", tenant)
    question = {
        "title": _("Delete %s?") % group.name,
        "text": _("Its rules are forgotten. No machine is guarded by it."),
        "button": _("Delete"),
        "icon": "trash",
    }
    return confirm(
        request, question, back={"url": reverse("vms:group_detail", args=[tenant, group.pk]), "label": group.name}
    )


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.NETWORK_MANAGE)
def guest_guard(request: HttpRequest, tenant: str, guest_id: UUID, port_id: UUID) -> HttpResponse:
    """Which groups guard one of a machine's cards."""
    guest = guest_or_404(request, guest_id)
    port = get_object_or_404(Port.objects.select_related("guest", "network"), guest=guest, pk=port_id)
    now = list(port.guards.values_list("group", flat=True))
    form = GuardForm(
        request.POST if request.method == "POST" else None, actor=request.actor, initial={"security_groups": now}
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            port_guard(port, list(form.cleaned_data["security_groups"]), actor=request.actor)
            return GUARD.back(request, guest)
    words = {
        "title": _("What guards %(name)s on %(network)s") % {"name": guest.name, "network": port.network.name},
        "text": _("What one of these groups allows is allowed; everything else is dropped."),
        "button": _("Apply"),
        "none": "" if now or guest.seen_power == Power.STOPPED else _none_yet(),
    }
    return GUARD.show(request, guest, form, words)


def _none_yet() -> str:
    why = FromBefore()
    return f"{why.sentence} {why.advice}"


def _groups(request: HttpRequest, form: GroupForm | None) -> HttpResponse:
    context = {
        "groups": [_shown(group) for group in groups_listed()],
        "form": form or GroupForm(actor=request.actor),
        "may": request.actor.may(Permission.NETWORK_MANAGE),
    }
    return render(request, "vms/security_group_list.html", context, status=422 if form else 200)


def _group(request: HttpRequest, group: Any, form: RuleForm | None = None) -> HttpResponse:
    may = request.actor.may(Permission.NETWORK_MANAGE)
    names = {str(pk): name for pk, name in SecurityGroup.objects.values_list("pk", "name")}
    seen = guests_visible(request.actor)
    context = {
        "group": _shown(group),
        "rules": [rule_shown(rule, names) for rule in in_order(group.rules)],
        "machines": list(guests_guarded(group, seen)),
        "form": form or RuleForm(actor=request.actor),
        "may": may,
    }
    return render(request, "vms/security_group_detail.html", context, status=422 if form else 200)


def _shown(group: Any) -> dict[str, Any]:
    way_in = sum(rule["direction"] == Direction.IN for rule in group.rules)
    return {
        "pk": group.pk,
        "name": group.name,
        "note": group.note,
        "is_default": group.is_default,
        "pending": group.rules != group.applied,
        "in": way_in,
        "out": len(group.rules) - way_in,
        "cards": group.cards_count,
    }
