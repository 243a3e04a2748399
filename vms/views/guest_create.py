"""The form for new machines: what can be chosen, what it would take, and the asking."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from portal.core.forms import refusals_in
from portal.core.ids import uuid_or_none
from portal.core.units import gib_label, mib_label
from tenants.actors import Actor
from tenants.pages import page
from tenants.policy import Permission
from tenants.services.quota import Line
from tenants.shapes import amount_label, in_unit_of, level, resource_title, share
from tenants.types import HttpRequest
from vms.forms.guests import GuestForm
from vms.forms.keys import KeyForm
from vms.models import Flavor, Guest, Image, Network, SecurityGroup, SshKey
from vms.seed_preview import seed_preview
from vms.selectors.prices import flavor_prices
from vms.selectors.stock import images_startable
from vms.services.guests import guest_create as create
from vms.services.guests import guest_fit
from vms.services.guests.create import Fit
from vms.specs import GuestSpec
from vms.states import ImageKind
from vms.views.find import tenant_of
from vms.views.group_words import ways_in
from vms.views.shapes import system_of, version_of

FIELD_OF: Final = {"name_taken": "name", "too_many_tags": "tags"}
DRAWN: Final = ("guests", "vcpus", "memory_mib", "disk_gib", "addresses")
PLENTY: Final = ("volumes", "ports", "networks")
"""Drawn only where they do not fit."""


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_CREATE)
def guest_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Choose and create."""
    if request.method != "POST":
        form = GuestForm(_first_choice(request.GET.get("image", "")), actor=request.actor)
        return render(request, "vms/guest_form.html", _context(request, form, fresh=True))
    form = GuestForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form, FIELD_OF):
            operation = create(tenant_of(request), form.spec(), actor=request.actor)
            messages.success(request, _("Creating %s.") % operation.subject_name)
            return redirect("vms:guest_list", tenant)
    return render(request, "vms/guest_form.html", _context(request, form), status=422)


@require_POST
@page(Permission.GUEST_CREATE)
def guest_recap(request: HttpRequest, tenant: str) -> HttpResponse:
    """What the form as it stands would take, and whether it fits; changes nothing."""
    form = GuestForm(request.POST, actor=request.actor)
    return render(request, "vms/_recap.html", {"recap": _recap(request, form), "slug": tenant})


def _first_choice(wish: str) -> dict[str, Any]:
    """What is chosen already when the page opens: with it, one click makes a machine. ``wish`` is an image's id."""
    ready = images_startable()
    chosen = uuid_or_none(wish)
    image = (ready.filter(pk=chosen).first() if chosen else None) or ready.first()
    flavors = Flavor.objects.filter(enabled=True)
    flavor = next((flavor for flavor in flavors if image is not None and not _too_small(flavor, image)), None)
    default = Network.objects.filter(is_default=True).first()
    guards = SecurityGroup.objects.filter(is_default=True)
    return {
        "name": _free_name(),
        "count": 1,
        "image": image.pk if image else "",
        "flavor": flavor.pk if flavor else "",
        "networks": [default.pk] if default else [],
        "security_groups": list(guards.values_list("pk", flat=True)),
        "ssh_keys": list(SshKey.objects.values_list("pk", flat=True)[:20]),
        "start": True,
    }


def _free_name() -> str:
    """``vm-1``, or the next one nobody has."""
    taken = set(Guest.objects.filter(name__startswith="vm-", binned_at=None).values_list("name", flat=True))
    return next(f"vm-{number}" for number in range(1, len(taken) + 2) if f"vm-{number}" not in taken)


def _context(request: HttpRequest, form: GuestForm, *, fresh: bool = False) -> dict[str, Any]:
    """The page's parts. A fresh form is bound, so that its choices are read as if sent, but shows no complaint yet."""
    recap = _recap(request, form)
    if fresh:
        form.errors.clear()
    return {
        "form": form,
        "images": _images(form),
        "flavors": _flavors(form),
        "networks": _networks(form),
        "groups": _groups(form),
        "ssh_keys": keys_to_choose(form.data, request.actor),
        "key_form": KeyForm(actor=request.actor),
        "recap": recap,
        "slug": tenant_of(request).slug,
    }


def _chosen(form: GuestForm, name: str) -> set[str]:
    value = form[name].value() or []
    return (
        {str(value)}
        if isinstance(value, str)
        else {str(one) for one in (value if isinstance(value, Iterable) else [value])}
    )


def _images(form: GuestForm) -> list[dict[str, Any]]:
    chosen = _chosen(form, "image")
    return [
        {
            "pk": image.pk,
            "name": image.name,
            "version": version_of(image) if image.kind == ImageKind.DISK else _("CD, for an empty disk"),
            "os_family": system_of(image.os_family, image.name),
            "selected": str(image.pk) in chosen,
            "reason": "",
        }
        for image in images_startable()
    ]


def _flavors(form: GuestForm) -> list[dict[str, Any]]:
    chosen, flavors = _chosen(form, "flavor"), list(Flavor.objects.filter(enabled=True))
    prices = flavor_prices(flavors)
    return [
        {
            "pk": flavor.pk,
            "name": flavor.name,
            "vcpus": flavor.vcpus,
            "memory_label": mib_label(flavor.memory_mib),
            "disk_label": gib_label(flavor.disk_gib),
            "price": prices.get(flavor.pk),
            "selected": str(flavor.pk) in chosen,
            "reason": "",
        }
        for flavor in flavors
    ]


def _too_small(flavor: Flavor, image: Image) -> bool:
    return flavor.disk_gib < image.min_disk_gib or flavor.memory_mib < image.min_memory_mib


def _networks(form: GuestForm) -> list[dict[str, Any]]:
    chosen = _chosen(form, "networks")
    return [
        {
            "pk": network.pk,
            "name": network.name,
            "cidr": next((subnet.cidr for subnet in network.subnets.all()), ""),
            "note": _("reaches the internet") if network.outward == "nat" else _("stays among your machines"),
            "selected": str(network.pk) in chosen,
        }
        for network in Network.objects.prefetch_related("subnets")
    ]


def _groups(form: GuestForm) -> list[dict[str, Any]]:
    chosen, groups = _chosen(form, "security_groups"), list(SecurityGroup.objects.all())
    names = {str(group.pk): group.name for group in groups}
    return [
        {"pk": group.pk, "name": group.name, "note": ways_in(group, names), "selected": str(group.pk) in chosen}
        for group in groups
    ]


def keys_to_choose(data: Any, actor: Actor, *, also: SshKey | None = None) -> list[dict[str, Any]]:
    """The keys of the project, ticked as ``data`` says; one just added is ticked, too."""
    if not actor.may(Permission.KEY_VIEW):
        return []
    ticked = data.getlist("ssh_keys") if hasattr(data, "getlist") else data.get("ssh_keys", [])
    chosen = {str(pk) for pk in ticked} | ({str(also.pk)} if also else set())
    return [
        {
            "pk": key.pk,
            "name": key.name,
            "fingerprint": key.fingerprint,
            "note": key.public_key.split(" ", 1)[0].removeprefix("ssh-"),
            "selected": str(key.pk) in chosen,
        }
        for key in SshKey.objects.all()
    ]


def _recap(request: HttpRequest, form: GuestForm) -> dict[str, Any]:
    spec = form.draft()
    if spec is None:
        return {
            "title": _("New machine"),
            "reasons": [_("Choose an image and a flavor.")],
            "submit_label": _("Create machine"),
            "fits": False,
            "complete": False,
        }
    fit, told = guest_fit(tenant_of(request), spec, actor=request.actor), seed_preview(spec)
    is_named = bool(form.cleaned_data.get("name"))
    reasons = [(code, message) for code, message in fit.reasons if is_named or code != "name_taken"]
    return {
        "told": told.files,
        "advice": told.advice,
        "title": spec.name if spec.count == 1 else f"{spec.name}-1 … {spec.name}-{spec.count}",
        "lines": _lines(spec),
        "quota": [before_after(line) for line in fit.quota if _is_drawn(line)],
        "fits": not reasons,
        "reasons": [message for _code, message in reasons],
        "over_quota": any(code == "over_quota" for code, _message in reasons),
        "more_label": _more_label(fit),
        "submit_label": ngettext("Create machine", "Create %(count)d machines", spec.count) % {"count": spec.count},
        "price": fit.price,
        "ready_label": _("Ready in under a minute.") if spec.start else _("Made, and left switched off."),
        "complete": True,
    }


def _lines(spec: GuestSpec) -> list[dict[str, str]]:
    flavor, many = spec.flavor, f"{spec.count} × " if spec.count > 1 else ""
    networks = ", ".join(network.name for network in spec.networks) or _("the default one")
    groups = ", ".join(group.name for group in spec.groups) or _("the default one")
    return [
        {"label": _("Image"), "value": spec.image.name},
        {"label": _("Flavor"), "value": f"{many}{flavor.name}"},
        {"label": _("Memory"), "value": f"{many}{mib_label(flavor.memory_mib)}"},
        {"label": _("Disk"), "value": f"{many}{gib_label(flavor.disk_gib)}"},
        {"label": _("Network"), "value": networks},
        {"label": _("Guarded by"), "value": groups},
        {"label": _("SSH keys"), "value": str(len(spec.ssh_keys)) if spec.ssh_keys else _("none")},
    ]


def _is_drawn(line: Line) -> bool:
    """What people look at first, whatever does not fit, and what bounds them beyond that."""
    return line.name in DRAWN or line.is_short or (line.limit is not None and line.name not in PLENTY)


def before_after(line: Line) -> dict[str, Any]:
    """A quota's gauge, as it is and as it would be."""
    after = share(line.after, line.limit)
    return {
        "label": resource_title(line.name)[1],
        "used_label": in_unit_of(line.name, line.before, line.limit),
        "after_label": in_unit_of(line.name, line.after, line.limit),
        "limit_label": amount_label(line.name, line.limit),
        "percent": min(100.0, share(line.before, line.limit)),
        "percent_after": after,
        "level": "full" if after > 100 else level(line.after, line.limit),
    }


def _more_label(fit: Fit) -> str:
    if fit.more_fit == 0:
        return _("Fits; after that the limit is reached.")
    return (
        ngettext("Fits: %d more of these after that.", "Fits: %d more of these after that.", fit.more_fit)
        % fit.more_fit
    )
