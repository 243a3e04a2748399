"""Images: what new machines start from; the project's own are brought in, changed and deleted here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from operations.models import Operation
from operations.selectors import operations_live_on
from operations.shapes import operation_shown
from portal.core.errors import Missing
from portal.core.forms import refusals_in
from portal.core.units import MIB, gib_label, mib_label
from tenants.actors import Actor
from tenants.models import Tenant
from tenants.pages import confirm, page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.images import INITS, ImageEditForm, ImageFetchForm, ImageUploadForm
from vms.models import Image, ImageUpload
from vms.models.image_tests import Verdict
from vms.selectors.hardware import hardware_words
from vms.selectors.stock import image_replacement, images_usable
from vms.services import image_tests as services_of_tests
from vms.services import images as services
from vms.states import ImageKind, ImageState
from vms.views.find import tenant_of
from vms.views.shapes import system_of, version_of

STATES: Final[Mapping[str, str | Promise]] = {
    ImageState.UPLOADING: gettext_lazy("Being uploaded"),
    ImageState.IMPORTING: gettext_lazy("Coming in"),
    ImageState.READY: gettext_lazy("Ready"),
    ImageState.FAILED: gettext_lazy("Failed"),
    ImageState.DEPRECATED: gettext_lazy("No longer offered"),
    ImageState.DELETING: gettext_lazy("Being deleted"),
}


KIND_WORDS: Final[Mapping[str, Promise]] = {
    ImageKind.DISK: gettext_lazy("A disk to start from"),
    ImageKind.ISO: gettext_lazy("A CD"),
    ImageKind.DRIVERS: gettext_lazy("The CD with drivers that Windows machines have"),
}


@require_safe
@page(Permission.IMAGE_VIEW)
def image_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """What a new machine can start from."""
    images = list(images_usable())
    live = operations_live_on("image", [image.pk for image in images])
    context = {
        "images": [image_shown(image, request.actor, live.get(image.pk)) for image in images],
        "may_add": request.actor.may(Permission.IMAGE_MANAGE),
    }
    return render(request, "vms/image_list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.IMAGE_MANAGE)
def image_add(request: HttpRequest, tenant: str) -> HttpResponse:
    """Bring an image in: by address (sent here), or from the browser's own machine (``static/js/upload.js``)."""
    form = ImageFetchForm(request.POST if request.method == "POST" else None, actor=request.actor)
    if form.is_bound and form.is_valid():
        with refusals_in(form):
            image, _operation = services.image_import(**form.spec(), actor=request.actor, tenant=tenant_of(request))
            messages.success(request, _("%s is coming in.") % image.name)
            return redirect("vms:image_list", tenant)
    context = {
        "form": form,
        "upload_form": ImageUploadForm(actor=request.actor),
        "uploads": [upload_shown(upload, tenant) for upload in ImageUpload.objects.select_related("image")],
        "slug": tenant,
    }
    return render(request, "vms/image_add.html", context, status=422 if form.errors else 200)


@require_safe
@page(Permission.IMAGE_VIEW)
def image_detail(request: HttpRequest, tenant: str, image_id: UUID) -> HttpResponse:
    """One image: what it is, what it needs, what is being done with it."""
    return _detail(request, get_object_or_404(images_usable(), pk=image_id), None)


@require_POST
@page(Permission.IMAGE_MANAGE)
def image_edit(request: HttpRequest, tenant: str, image_id: UUID) -> HttpResponse:
    """Change what is said of one of the project's own."""
    image = _own(tenant_of(request), image_id)
    form = ImageEditForm(request.POST, image=image, actor=request.actor)
    if form.is_valid():
        with refusals_in(form):
            services.image_edit(image, actor=request.actor, **form.spec())
            messages.success(request, _("Kept."))
            return redirect("vms:image_detail", tenant, image.pk)
    return _detail(request, image, form)


@require_POST
@page(Permission.IMAGE_MANAGE)
def image_offer(request: HttpRequest, tenant: str, image_id: UUID) -> HttpResponse:
    """Offer it for new machines no longer, or again."""
    image = _own(tenant_of(request), image_id)
    services.image_edit(image, deprecated=request.POST.get("deprecated") == "true", actor=request.actor)
    return redirect("vms:image_detail", tenant, image.pk)


@require_POST
@page(Permission.IMAGE_MANAGE)
def image_share(request: HttpRequest, tenant: str, image_id: UUID) -> HttpResponse:
    """Let the projects below make machines of it, or no longer."""
    image = _own(tenant_of(request), image_id)
    services.image_edit(image, shared=request.POST.get("shared") == "true", actor=request.actor)
    return redirect("vms:image_detail", tenant, image.pk)


@require_POST
@page(Permission.IMAGE_MANAGE)
def image_test(request: HttpRequest, tenant: str, image_id: UUID) -> HttpResponse:
    """Try whether it starts."""
    image = _own(tenant_of(request), image_id)
    services_of_tests.image_test(image, actor=request.actor)
    messages.success(request, _("%s is being started on a host, to see whether it does.") % image.name)
    return redirect("vms:image_detail", tenant, image.pk)


@require_safe
@page(Permission.IMAGE_VIEW)
def image_test_screen(request: HttpRequest, tenant: str, image_id: UUID) -> HttpResponse:
    """Its screen at the end of its last test boot."""
    test = services_of_tests.image_tested(get_object_or_404(images_usable(), pk=image_id))
    if test is None or not test.screen:
        raise Missing
    return HttpResponse(bytes(test.screen), content_type="image/png", headers={"Cache-Control": "no-store"})


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.IMAGE_MANAGE)
def image_delete(request: HttpRequest, tenant: str, image_id: UUID) -> HttpResponse:
    """Say what goes; then have it taken away."""
    image = _own(tenant_of(request), image_id)
    if request.POST.get("confirmed") != "yes":
        question = {
            "title": _("Delete %s?") % image.name,
            "text": _("Its file and its copies on hosts go with it. This cannot be undone."),
            "button": _("Delete"),
            "icon": "trash",
        }
        back = {"url": reverse("vms:image_detail", args=[tenant, image.pk]), "label": image.name}
        return confirm(request, question, back=back)
    services.image_delete(image, actor=request.actor)
    messages.success(request, _("%s is being deleted.") % image.name)
    return redirect("vms:image_list", tenant)


def _own(tenant: Tenant, image_id: UUID) -> Image:
    """One of the project's own images; everybody's, and what projects above share, are not there to be changed."""
    image: Image = get_object_or_404(images_usable().filter(tenant=tenant), pk=image_id)
    return image


def _detail(request: HttpRequest, image: Image, form: ImageEditForm | None) -> HttpResponse:
    actor = request.actor
    live = operations_live_on("image", [image.pk]).get(image.pk)
    own = image.tenant_id is not None and actor.may(Permission.IMAGE_MANAGE, image)
    below = own and actor.tenant is not None and actor.tenant.children.exists()
    fit = image.state in (ImageState.READY, ImageState.DEPRECATED)
    shown = image_shown(image, actor, live)
    context = {
        "test": services_of_tests.image_tested(image),
        "trying": shown["operation"] if live is not None and live.kind == "image.test" else None,
        "may_test": own and live is None and fit and image.kind == ImageKind.DISK,
        "image": shown,
        "form": (form or ImageEditForm(image=image, actor=actor)) if own and live is None else None,
        "may_delete": own and live is None and image.state != ImageState.UPLOADING,
        "may_offer": own and fit,
        "may_share": own and fit and (below or image.shared),
        "may_upload": own and image.state == ImageState.UPLOADING,
        "may_create": actor.may(Permission.GUEST_CREATE)
        and image.state == ImageState.READY
        and image.kind == ImageKind.DISK,
    }
    return render(request, "vms/image_detail.html", context, status=422 if form else 200)


def image_shown(image: Image, actor: Actor, operation: Operation | None) -> dict[str, Any]:
    """An image for rows and its own page; asks the database nothing that ``images_usable`` has not read."""
    upload = getattr(image, "upload", None) if image.state == ImageState.UPLOADING else None
    own = image.tenant_id is not None and (actor.tenant is None or image.tenant_id == actor.tenant.pk)
    return {
        "pk": image.pk,
        "name": image.name,
        "version": version_of(image),
        "os_family": system_of(image.os_family, image.name),
        "state": image.state,
        "state_label": STATES[image.state],
        "problem": image.problem if own else "",
        "percent": 100 * upload.received // upload.size if upload is not None else None,
        "operation": operation_shown(operation, actor) if operation is not None and own else None,
        "size_label": mib_label(max(1, round(image.size / MIB))) if image.size else "–",
        "min_disk_label": gib_label(image.min_disk_gib) if image.min_disk_gib else "–",
        "min_memory_label": mib_label(image.min_memory_mib),
        "firmware": hardware_words(image),
        "kind_label": KIND_WORDS[image.kind],
        "init_label": dict(INITS).get(image.init, image.init),
        "default_user": image.default_user,
        "sha256": image.sha256,
        "own": own,
        "owner_label": image.tenant.name if image.tenant is not None else _("Everybody's"),
        "shared": image.shared,
        "tested": image.verdict == Verdict.LOGIN,
        "replacement": image_replacement(image, actor),
        "created_at": image.created_at,
    }


def upload_shown(upload: ImageUpload, slug: str) -> dict[str, Any]:
    """An upload as pages and ``upload.js`` read it; sizes in bytes."""
    return {
        "url": reverse("vms:upload_piece", args=[slug, upload.pk]),
        "abandon_url": reverse("vms:upload_abandon", args=[slug, upload.pk]),
        "name": upload.image.name,
        "size": upload.size,
        "size_label": mib_label(max(1, round(upload.size / MIB))),
        "received": upload.received,
        "percent": 100 * upload.received // upload.size,
        "touched_at": upload.touched_at,
    }
