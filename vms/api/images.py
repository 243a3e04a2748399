"""REST: images; a tenant sees everybody's and brings in its own, operators see and change all."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool, StrictInt

from operations.api import OperationOut, accepted
from portal.core.bodies import Body, Listed, Listing, listed, narrowed
from portal.core.errors import FieldError, Forbidden
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts
from tenants.actors import Actor
from tenants.api.tenants import tenant_in_path
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.pick import pick_image, refuse
from vms.models import Image
from vms.models.hardware import DiskBus, NicModel
from vms.models.image_tests import Verdict
from vms.selectors.stock import image_replacement, images_usable
from vms.services.images import image_delete, image_edit, image_import
from vms.specs import ImageSpec
from vms.states import ImageKind, ImageState, Init

router = Router(tags=["images"])
operators = Router(tags=["operators: images"])
SORTS: Sorts = {"sort": ("sort", "name", "id"), "name": ("name", "id"), "created_at": ("created_at", "id")}


class ImageOut(BaseModel):
    """What a machine's first disk is made from; sizes in bytes, `min_disk_gib` is the smallest disk it fits on."""

    id: str
    name: str
    state: ImageState
    kind: ImageKind = Field(description="`drivers`: the CD that every Windows machine is given.")
    public: bool
    shared: bool = Field(description="May the projects below its own make machines of it?")
    own: bool = Field(description="Is it this project's, to be changed here? Operators change all.")
    os_family: str
    os_version: str
    firmware: str
    secure_boot: bool
    tpm: bool
    disk_bus: DiskBus
    nic_model: NicModel
    init: Init
    size: int
    virtual_size: int
    min_disk_gib: int
    min_memory_mib: int
    default_user: str
    sha256: str
    verdict: Verdict | None = Field(description="How its last test boot ended; null before the first.")
    replacement: str | None = Field(description="The image to take instead of one that is deprecated.")
    created_at: datetime
    problem: str | None = Field(default=None, description="Why an import failed; for whom it belongs to.")


class ImageQuery(Listing):
    """Filters of images."""

    sort: str = Field(default="sort", max_length=40, description="`sort`, `name`, `created_at`, or one with `-`")
    name: str = Field(default="", max_length=100)
    state: ImageState | None = None
    kind: ImageKind | None = None
    os_family: str = Field(default="", max_length=24)


class ImageWords(Body):
    """What is said of an image that is to come."""

    name: str = Field(max_length=200)
    os_family: str = Field(default="linux", max_length=24)
    os_version: str = Field(default="", max_length=40)
    kind: str = Field(
        default="disk",
        max_length=8,
        description="`disk`, `iso` (a CD, format `raw`), or `drivers`: the CD that every Windows machine is given",
    )
    format: str = Field(default="qcow2", max_length=10, description="`qcow2` or `raw`")
    firmware: str = Field(default="bios", max_length=10, description="`bios` or `uefi`")
    secure_boot: StrictBool = Field(default=False, description="UEFI starts only what Microsoft's keys vouch for.")
    tpm: StrictBool = Field(default=False, description="A machine of it has a TPM 2.0.")
    disk_bus: str = Field(default="virtio", max_length=8, description="Of the first disk: `virtio`, `scsi` or `sata`")
    nic_model: str = Field(default="virtio", max_length=8, description="`virtio` or `e1000e`")
    init: str = Field(default="cloud-init", max_length=16, description="`cloud-init`, `cloudbase-init` or `none`")
    default_user: str = Field(default="root", max_length=32, description="The account that keys let in to.")
    min_memory_mib: StrictInt = Field(default=64)
    least_disk_gib: StrictInt = Field(default=0, description="0: what its disk takes.")

    def spec(self) -> ImageSpec:
        """As services take it."""
        words = {name: getattr(self, name) for name in ImageWords.model_fields if name != "format"}
        return ImageSpec(**words, source_format=self.format)


class ImageIn(ImageWords):
    """An image to be fetched; only a file with this checksum becomes one."""

    url: str = Field(max_length=2000)
    sha256: str = Field(max_length=64)


class ImagePatch(Body):
    """What is said of it, and whether it is still offered for new machines; what is left out stays."""

    name: str = Field(default="", max_length=200)
    os_family: str = Field(default="", max_length=24)
    os_version: str = Field(default="", max_length=40)
    firmware: str = Field(default="", max_length=10)
    secure_boot: StrictBool = False
    tpm: StrictBool = False
    disk_bus: str = Field(default="", max_length=8)
    nic_model: str = Field(default="", max_length=8)
    init: str = Field(default="", max_length=16)
    default_user: str = Field(default="", max_length=32)
    min_memory_mib: StrictInt = 0
    least_disk_gib: StrictInt = 0
    deprecated: StrictBool = False
    shared: StrictBool = Field(
        default=False, description="The projects below make machines of it; this one pays for it."
    )
    replacement: str | None = Field(
        default=None, max_length=100, description="Id or name of the image to take instead."
    )


def image_out(image: Image, *, actor: Actor) -> ImageOut:
    """An image as JSON shows it to ``actor``."""
    own = actor.is_operator or (image.tenant_id is not None and image.tenant_id == getattr(actor.tenant, "pk", None))
    out = ImageOut(
        id=str(image.pk),
        name=image.name,
        state=ImageState(image.state),
        kind=ImageKind(image.kind),
        public=image.tenant_id is None,
        shared=image.shared,
        own=own,
        os_family=image.os_family,
        os_version=image.os_version,
        firmware=image.firmware,
        secure_boot=image.secure_boot,
        tpm=image.tpm,
        disk_bus=DiskBus(image.disk_bus),
        nic_model=NicModel(image.nic_model),
        init=Init(image.init),
        size=image.size,
        virtual_size=image.virtual_size,
        min_disk_gib=image.min_disk_gib,
        min_memory_mib=image.min_memory_mib,
        default_user=image.default_user,
        sha256=image.sha256,
        verdict=Verdict(image.verdict) if image.verdict else None,
        replacement=str(image.replacement_id) if image_replacement(image, actor) is not None else None,
        created_at=image.created_at,
    )
    if own:
        out.problem = image.problem or None
    return out


def _list(request: HttpRequest, query: ImageQuery, rows: QuerySet[Image]) -> dict[str, Any]:
    found = {"name": query.name, "state": query.state, "kind": query.kind, "os_family": query.os_family}
    rows = narrowed(rows, **found, name__icontains=query.q)
    return listed(request, query, rows, sorts=SORTS, out=lambda row: image_out(row, actor=request.actor))


def _shown(request: HttpRequest, response: HttpResponse, image: Image) -> ImageOut:
    response["ETag"] = etag_of(image)
    return image_out(image, actor=request.actor)


@router.get("/images", response=Listed[ImageOut], exclude_unset=True, summary="List images")
def image_list(request: HttpRequest, query: Query[ImageQuery]) -> dict[str, Any]:
    """Images that machines of this project can be made of; `deprecated` ones only run on."""
    request.actor.require(Permission.IMAGE_VIEW)
    return _list(request, query, images_usable())


@router.get("/images/{image_id}", response=ImageOut, exclude_unset=True, summary="Get an image")
def image_get(request: HttpRequest, image_id: str, response: HttpResponse) -> ImageOut:
    """One image."""
    request.actor.require(Permission.IMAGE_VIEW)
    return _shown(request, response, find(request, images_usable(), image_id))


def own_image(request: HttpRequest, image_id: str) -> Image:
    """An image of the tenant's own, to be changed; others that it sees are refused, and not as if they were not there."""
    image = find(request, images_usable(), image_id)
    request.actor.require(Permission.IMAGE_MANAGE)
    if image.tenant_id is None:
        raise Forbidden(_("This image is everybody's."), code="public_image", hint=_("Only operators change it."))
    if request.actor.tenant is not None and image.tenant_id != request.actor.tenant.pk:
        raise Forbidden(
            _("This image is shared by a project above."),
            code="shared_image",
            hint=_("Only its own project changes it."),
        )
    return image


def _edited(request: HttpRequest, response: HttpResponse, image: Image, body: ImagePatch) -> ImageOut:
    changes = body.model_dump(exclude_unset=True)
    if body.replacement is not None:
        errors: list[FieldError] = []
        changes["replacement"] = pick_image(images_usable(), body.replacement, "/replacement", errors)
        refuse(errors)
    return _shown(request, response, image_edit(image, actor=request.actor, **changes))


@router.post("/images", response={202: OperationOut}, exclude_unset=True, summary="Import an image")
def own_image_post(request: HttpRequest, response: HttpResponse, body: ImageIn) -> Status[OperationOut]:
    """Fetch an image of this project's own; what it takes is reserved of the quota as it comes."""
    tenant = tenant_in_path(request)
    _image, operation = image_import(body.spec(), url=body.url, sha256=body.sha256, actor=request.actor, tenant=tenant)
    return accepted(request, response, operation)


@router.patch("/images/{image_id}", response=ImageOut, exclude_unset=True, summary="Change an image")
def own_image_patch(request: HttpRequest, image_id: str, response: HttpResponse, body: ImagePatch) -> ImageOut:
    """Rename it, say what it needs, offer it for new machines no longer; machines made of it stay as they are."""
    return _edited(request, response, own_image(request, image_id), body)


@router.delete("/images/{image_id}", response={202: OperationOut}, exclude_unset=True, summary="Delete an image")
def own_image_remove(request: HttpRequest, image_id: str, response: HttpResponse) -> Status[OperationOut]:
    """With its copies on hosts; refused while machines stand on it."""
    return accepted(request, response, image_delete(own_image(request, image_id), actor=request.actor))


@operators.get("/images", response=Listed[ImageOut], exclude_unset=True, summary="List all images")
def all_image_list(request: HttpRequest, query: Query[ImageQuery]) -> dict[str, Any]:
    """Images of all projects, in any state."""
    request.actor.require(Permission.OPERATE)
    return _list(request, query, Image.objects.all())


@operators.post("/images", response={202: OperationOut}, exclude_unset=True, summary="Import an image")
def image_post(request: HttpRequest, response: HttpResponse, body: ImageIn) -> Status[OperationOut]:
    """Fetch a public image; the operation's subject is the image."""
    _image, operation = image_import(body.spec(), url=body.url, sha256=body.sha256, actor=request.actor)
    return accepted(request, response, operation)


@operators.get("/images/{image_id}", response=ImageOut, exclude_unset=True, summary="Get any image")
def any_image_get(request: HttpRequest, image_id: str, response: HttpResponse) -> ImageOut:
    """One image, in any state."""
    request.actor.require(Permission.OPERATE)
    return _shown(request, response, find(request, Image.objects.all(), image_id))


@operators.patch("/images/{image_id}", response=ImageOut, exclude_unset=True, summary="Change any image")
def image_patch(request: HttpRequest, image_id: str, response: HttpResponse, body: ImagePatch) -> ImageOut:
    """What is said of it, and whether it is offered for new machines."""
    request.actor.require(Permission.OPERATE)
    return _edited(request, response, find(request, Image.objects.all(), image_id), body)


@operators.delete("/images/{image_id}", response={202: OperationOut}, exclude_unset=True, summary="Delete any image")
def image_remove(request: HttpRequest, image_id: str, response: HttpResponse) -> Status[OperationOut]:
    """With its copies on hosts; refused while machines stand on it."""
    request.actor.require(Permission.OPERATE)
    return accepted(request, response, image_delete(find(request, Image.objects.all(), image_id), actor=request.actor))
