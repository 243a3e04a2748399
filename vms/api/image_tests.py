"""REST: test boots of images; asked for by whose image it is, seen by whoever sees the image."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpResponse
from ninja import Router, Status
from pydantic import BaseModel, Field

from operations.api import OperationOut, accepted
from portal.core.bodies import Nothing
from portal.core.errors import Missing
from portal.core.etags import find
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.images import own_image
from vms.models import Image, ImageTest
from vms.models.image_tests import Verdict
from vms.selectors.stock import images_usable
from vms.services.image_tests import image_test, image_tested

router = Router(tags=["images"])
operators = Router(tags=["operators: images"])
PICTURE = {
    "responses": {
        200: {
            "description": "The picture.",
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        }
    }
}


class ImageTestOut(BaseModel):
    """How the last test boot ended. Log and screen are the image's own word."""

    verdict: Verdict
    words: str = Field(description="The verdict in a sentence.")
    vcpus: int
    memory_mib: int
    limit_s: int = Field(description="How long a login prompt was waited for, at most.")
    started_at: datetime
    ended_at: datetime
    log: str = Field(description="The end of its serial line: plain text, without what would move a terminal.")
    screenshot: bool = Field(description="Is there a picture of its screen?")


def _tested(image: Image) -> ImageTest:
    found = image_tested(image)
    if found is None:
        raise Missing
    return found


def _out(image: Image) -> ImageTestOut:
    test = _tested(image)
    assert test.ended_at is not None
    return ImageTestOut(
        verdict=Verdict(test.verdict),
        words=str(Verdict(test.verdict).label),
        vcpus=test.vcpus,
        memory_mib=test.memory_mib,
        limit_s=test.limit_s,
        started_at=test.created_at,
        ended_at=test.ended_at,
        log=test.log,
        screenshot=bool(test.screen),
    )


def _picture(image: Image) -> HttpResponse:
    screen = bytes(_tested(image).screen)
    if not screen:
        raise Missing
    return HttpResponse(screen, content_type="image/png")


@router.post("/images/{image_id}/test", response={202: OperationOut}, exclude_unset=True, summary="Test an image")
def own_image_test(
    request: HttpRequest, image_id: str, response: HttpResponse, body: Nothing | None = None
) -> Status[OperationOut]:
    """Start it once on a host, without a network, until it asks for a name; GET what was seen when that is done."""
    return accepted(request, response, image_test(own_image(request, image_id), actor=request.actor))


@router.get("/images/{image_id}/test", response=ImageTestOut, summary="Get the result of the test")
def image_test_get(request: HttpRequest, image_id: str) -> ImageTestOut:
    """How its last test boot ended; 404 before the first."""
    request.actor.require(Permission.IMAGE_VIEW)
    return _out(find(request, images_usable(), image_id))


@router.get("/images/{image_id}/test/screenshot", summary="Get the test's screenshot", openapi_extra=PICTURE)
def image_test_screenshot(request: HttpRequest, image_id: str) -> HttpResponse:
    """Its screen at the end of its last test boot, as PNG; 404 where there is no picture."""
    request.actor.require(Permission.IMAGE_VIEW)
    return _picture(find(request, images_usable(), image_id))


@operators.post("/images/{image_id}/test", response={202: OperationOut}, exclude_unset=True, summary="Test any image")
def any_image_test(
    request: HttpRequest, image_id: str, response: HttpResponse, body: Nothing | None = None
) -> Status[OperationOut]:
    """Start it once on a host, without a network, until it asks for a name."""
    request.actor.require(Permission.OPERATE)
    return accepted(request, response, image_test(find(request, Image.objects.all(), image_id), actor=request.actor))


@operators.get("/images/{image_id}/test", response=ImageTestOut, summary="Get the result of any image's test")
def any_image_test_get(request: HttpRequest, image_id: str) -> ImageTestOut:
    """How its last test boot ended; 404 before the first."""
    request.actor.require(Permission.OPERATE)
    return _out(find(request, Image.objects.all(), image_id))


@operators.get("/images/{image_id}/test/screenshot", summary="Get any image's test screenshot", openapi_extra=PICTURE)
def any_image_test_screenshot(request: HttpRequest, image_id: str) -> HttpResponse:
    """Its screen at the end of its last test boot, as PNG; 404 where there is no picture."""
    request.actor.require(Permission.OPERATE)
    return _picture(find(request, Image.objects.all(), image_id))
