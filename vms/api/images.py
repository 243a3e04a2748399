"""REST: images; a tenant sees everybody's and its own, operators see and import all."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool

from operations.api import OperationOut, accepted
from portal.core.bodies import Body, Listed, Listing, listed, narrowed
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.models import Image
from vms.services.images import image_delete, image_deprecate, image_import
from vms.states import ImageState

router = Router(tags=["images"])
operators = Router(tags=["operators: images"])
SORTS: Sorts = {"sort": ("sort", "name", "id"), "name": ("name", "id"), "created_at": ("created_at", "id")}


class ImageOut(BaseModel):
    """What a machine's first disk is made from; sizes in bytes, `min_disk_gib` is the smallest disk it fits on."""

    id: str
    name: str
    state: ImageState
    public: bool
    os_family: str
    os_version: str
    firmware: str
    size: int
    virtual_size: int
    min_disk_gib: int
    min_memory_mib: int
    default_user: str
    sha256: str
    created_at: datetime
    problem: str | None = Field(default=None, description="Why an import failed; for operators.")


class ImageQuery(Listing):
    """Filters of images."""

    sort: str = Field(default="sort", max_length=40, description="`sort`, `name`, `created_at`, or one with `-`")
    name: str = Field(default="", max_length=100)
    state: ImageState | None = None
    os_family: str = Field(default="", max_length=24)


class ImageIn(Body):
    """An image to be fetched; only a file with this checksum becomes one."""

    name: str = Field(max_length=200)
    url: str = Field(max_length=2000)
    sha256: str = Field(max_length=64)
    os_family: str = Field(default="linux", max_length=24)
    os_version: str = Field(default="", max_length=40)
    format: str = Field(default="qcow2", max_length=10, description="`qcow2` or `raw`")


class ImagePatch(Body):
    """Whether it is still offered for new machines."""

    deprecated: StrictBool


def _tenants_images() -> QuerySet[Image]:
    """What the scope's tenant may use: everybody's that are fit for use, and all of its own."""
    return Image.objects.filter(Q(state__in=[ImageState.READY, ImageState.DEPRECATED]) | Q(tenant__isnull=False))


def image_out(image: Image, *, operator: bool = False) -> ImageOut:
    """An image as JSON shows it."""
    out = ImageOut(
        id=str(image.pk),
        name=image.name,
        state=ImageState(image.state),
        public=image.tenant_id is None,
        os_family=image.os_family,
        os_version=image.os_version,
        firmware=image.firmware,
        size=image.size,
        virtual_size=image.virtual_size,
        min_disk_gib=image.min_disk_gib,
        min_memory_mib=image.min_memory_mib,
        default_user=image.default_user,
        sha256=image.sha256,
        created_at=image.created_at,
    )
    if operator:
        out.problem = image.problem or None
    return out


def _list(request: HttpRequest, query: ImageQuery, rows: QuerySet[Image]) -> dict[str, Any]:
    rows = narrowed(rows, name=query.name, state=query.state, os_family=query.os_family, name__icontains=query.q)
    operator = request.actor.is_operator
    return listed(request, query, rows, sorts=SORTS, out=lambda row: image_out(row, operator=operator))


def _shown(request: HttpRequest, response: HttpResponse, image: Image) -> ImageOut:
    response["ETag"] = etag_of(image)
    return image_out(image, operator=request.actor.is_operator)


@router.get("/images", response=Listed[ImageOut], exclude_unset=True, summary="List images")
def image_list(request: HttpRequest, query: Query[ImageQuery]) -> dict[str, Any]:
    """Images that machines of this project can be made of; `deprecated` ones only run on."""
    request.actor.require(Permission.IMAGE_VIEW)
    return _list(request, query, _tenants_images())


@router.get("/images/{image_id}", response=ImageOut, exclude_unset=True, summary="Get an image")
def image_get(request: HttpRequest, image_id: str, response: HttpResponse) -> ImageOut:
    """One image."""
    request.actor.require(Permission.IMAGE_VIEW)
    return _shown(request, response, find(request, _tenants_images(), image_id))


@operators.get("/images", response=Listed[ImageOut], exclude_unset=True, summary="List all images")
def all_image_list(request: HttpRequest, query: Query[ImageQuery]) -> dict[str, Any]:
    """Images of all projects, in any state."""
    request.actor.require(Permission.OPERATE)
    return _list(request, query, Image.objects.all())


@operators.post("/images", response={202: OperationOut}, exclude_unset=True, summary="Import an image")
def image_post(request: HttpRequest, response: HttpResponse, body: ImageIn) -> Status[OperationOut]:
    """Fetch a public image; the operation's subject is the image."""
    words = body.model_dump(exclude={"format"})
    _image, operation = image_import(**words, source_format=body.format, actor=request.actor)
    return accepted(request, response, operation)


@operators.get("/images/{image_id}", response=ImageOut, exclude_unset=True, summary="Get any image")
def any_image_get(request: HttpRequest, image_id: str, response: HttpResponse) -> ImageOut:
    """One image, in any state."""
    request.actor.require(Permission.OPERATE)
    return _shown(request, response, find(request, Image.objects.all(), image_id))


@operators.patch("/images/{image_id}", response=ImageOut, exclude_unset=True, summary="Deprecate an image")
def image_patch(request: HttpRequest, image_id: str, response: HttpResponse, body: ImagePatch) -> ImageOut:
    """Offer it for new machines no longer, or again."""
    request.actor.require(Permission.OPERATE)
    image = find(request, Image.objects.all(), image_id)
    return _shown(request, response, image_deprecate(image, on=body.deprecated, actor=request.actor))


@operators.delete("/images/{image_id}", response={204: None}, summary="Delete an image")
def image_remove(request: HttpRequest, image_id: str) -> Status[None]:
    """Refused while machines stand on it."""
    request.actor.require(Permission.OPERATE)
    image_delete(find(request, Image.objects.all(), image_id), actor=request.actor)
    return Status(204, None)
