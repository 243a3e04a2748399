"""REST: an image's bytes in pieces: announce, send, ask how much has come, go on, give up."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictInt

from operations.models import Operation
from portal.core.bodies import Listed, Listing, listed, narrowed
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts
from portal.core.pieces import OFFSET, read_piece
from tenants.api.tenants import tenant_in_path
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.images import ImageWords
from vms.models import ImageUpload
from vms.services.image_uploads import PIECE_MOST, upload_abandon, upload_create, upload_write

router = Router(tags=["images"])
SORTS: Sorts = {"created_at": ("created_at", "id")}


class UploadOut(BaseModel):
    """An upload; sizes in bytes. The next piece begins at `received`."""

    id: str
    image: str
    image_name: str
    size: int
    received: int
    piece_most: int = Field(description="How many bytes one piece may have.")
    sha256: str
    created_at: datetime
    expires_at: datetime = Field(description="It is given up then, unless more comes.")
    operation: str | None = Field(default=None, description="What makes the image of it, once all has come.")


class UploadQuery(Listing):
    """Filters of uploads."""

    sort: str = Field(default="-created_at", max_length=40, description="`created_at` or `-created_at`")
    q: str = Field(default="", max_length=100, description="Images whose name holds this.")


class UploadIn(ImageWords):
    """An image whose bytes are about to come."""

    size: StrictInt = Field(description="Bytes of the file.")
    sha256: str = Field(default="", max_length=64, description="With it, only a file of this checksum is taken.")


def upload_out(upload: ImageUpload, operation: Operation | None = None) -> UploadOut:
    """An upload as JSON shows it."""
    return UploadOut(
        id=str(upload.pk),
        image=str(upload.image_id),
        image_name=upload.image.name,
        size=upload.size,
        received=upload.received,
        piece_most=PIECE_MOST,
        sha256=upload.sha256,
        created_at=upload.created_at,
        expires_at=upload.touched_at + settings.UPLOAD_KEEP,
        operation=str(operation.pk) if operation is not None else None,
    )


def _shown(response: HttpResponse, upload: ImageUpload, operation: Operation | None = None) -> UploadOut:
    response["ETag"] = etag_of(upload)
    response[OFFSET] = str(upload.received)
    return upload_out(upload, operation)


@router.get("/image-uploads", response=Listed[UploadOut], summary="List uploads")
def upload_list(request: HttpRequest, query: Query[UploadQuery]) -> dict[str, Any]:
    """What is just being uploaded, or waits for its next piece."""
    request.actor.require(Permission.IMAGE_VIEW)
    rows = narrowed(ImageUpload.objects.select_related("image"), image__name__icontains=query.q)
    return listed(request, query, rows, sorts=SORTS, out=upload_out)


@router.post("/image-uploads", response={201: UploadOut}, summary="Begin an upload")
def upload_post(request: HttpRequest, response: HttpResponse, body: UploadIn) -> Status[UploadOut]:
    """Announce an image; room for `size` bytes is reserved of the quota. Send the bytes by `PATCH`."""
    tenant = tenant_in_path(request)
    upload = upload_create(tenant, body.spec(), size=body.size, sha256=body.sha256, actor=request.actor)
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/image-uploads/{upload.pk}"
    return Status(201, _shown(response, upload))


@router.get("/image-uploads/{upload_id}", response=UploadOut, summary="Get an upload")
def upload_get(request: HttpRequest, upload_id: str, response: HttpResponse) -> UploadOut:
    """How much has come; `HEAD` answers it in the header `Upload-Offset`. Not there any more once the image has been made."""
    request.actor.require(Permission.IMAGE_VIEW)
    return _shown(response, find(request, ImageUpload.objects.select_related("image"), upload_id))


@router.patch("/image-uploads/{upload_id}", response=UploadOut, summary="Send a piece")
def upload_patch(request: HttpRequest, upload_id: str, response: HttpResponse) -> UploadOut:
    """The bytes from header `Upload-Offset` on, as `application/octet-stream`, at most `piece_most` of them.

    409 `wrong_offset` says where to go on. With the last byte the image is made; `operation` says by what.
    """
    upload = find(request, ImageUpload.objects.select_related("image"), upload_id)
    request.actor.require(Permission.IMAGE_MANAGE, upload)
    piece, offset = read_piece(request, most=PIECE_MOST)
    return _shown(response, *upload_write(upload, piece, offset=offset, actor=request.actor))


@router.delete("/image-uploads/{upload_id}", response={204: None}, summary="Give up an upload")
def upload_remove(request: HttpRequest, upload_id: str) -> Status[None]:
    """What has come of it goes, and what was reserved for it returns."""
    upload = find(request, ImageUpload.objects.select_related("image", "tenant"), upload_id)
    upload_abandon(upload, actor=request.actor)
    return Status(204, None)
