"""What the browser says while it uploads an image, piece by piece (``static/js/upload.js``): JSON in answer, bytes in."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from portal.core.errors import FieldError, Invalid
from portal.core.pieces import read_piece
from tenants.pages import page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.images import ImageUploadForm
from vms.models import ImageUpload
from vms.services import image_uploads as services
from vms.views.find import tenant_of


@require_POST
@page(Permission.IMAGE_MANAGE)
def upload_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Announce an image; the answer says where its pieces go."""
    form = ImageUploadForm(request.POST, actor=request.actor)
    if not form.is_valid():
        faults = [(name, message) for name, found in form.errors.items() for message in found]
        raise Invalid(errors=[FieldError(f"/{name}", "invalid", str(message)) for name, message in faults])
    upload = services.upload_create(tenant_of(request), **form.spec(), actor=request.actor)
    return JsonResponse(_facts(upload, tenant), status=201)


@require_http_methods(["GET", "HEAD", "PUT"])
@page(Permission.IMAGE_MANAGE)
def upload_piece(request: HttpRequest, tenant: str, upload_id: UUID) -> HttpResponse:
    """Take a piece, or say how much has come."""
    upload = get_object_or_404(ImageUpload.objects.select_related("image"), pk=upload_id)
    if request.method == "PUT":
        piece, offset = read_piece(request, most=services.PIECE_MOST)
        upload, _operation = services.upload_write(upload, piece, offset=offset, actor=request.actor)
    return JsonResponse(_facts(upload, tenant))


@require_POST
@page(Permission.IMAGE_MANAGE)
def upload_abandon(request: HttpRequest, tenant: str, upload_id: UUID) -> HttpResponse:
    """Give it up."""
    upload = get_object_or_404(ImageUpload.objects.select_related("image", "tenant"), pk=upload_id)
    services.upload_abandon(upload, actor=request.actor)
    messages.success(request, _("The upload of %s is given up.") % upload.image.name)
    return redirect("vms:image_add", tenant)


def _facts(upload: ImageUpload, slug: str) -> dict[str, Any]:
    """Where the pieces go, how many bytes there are to be and have come, and where to look when it is done."""
    return {
        "url": reverse("vms:upload_piece", args=[slug, upload.pk]),
        "size": upload.size,
        "received": upload.received,
        "piece_most": services.PIECE_MOST,
        "done_url": reverse("vms:image_detail", args=[slug, upload.image_id]),
    }
