"""REST: the catalogue of well-known images, for operators."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from operations.api import OperationOut, accepted
from portal.core.bodies import Listed, Nothing, refuse_unknown
from portal.core.errors import Missing
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.selectors.image_catalogue import Offer, catalogue_offers
from vms.services.image_catalogue import catalogue_fetch

operators = Router(tags=["operators: images"])
type Standing = Literal["absent", "coming", "here"]


class OfferOut(BaseModel):
    """An image that its maker offers, and what of it is here."""

    key: str
    name: str
    os_family: str
    os_version: str
    maker: str = Field(description="The host that it comes from.")
    url: str | None = Field(description="Where it is fetched; null where a person brings it in by hand, from `page`.")
    page: str | None
    state: Standing
    image: str | None = Field(description="The newest image that was made of it.")
    operation: str | None = Field(description="The operation that is being carried out on that image.")
    problem: str | None = Field(description="Why it did not come the last time.")
    min_memory_mib: int
    least_disk_gib: int


class OfferQuery(BaseModel):
    """Filters of the catalogue."""

    os_family: str = Field(default="", max_length=24)
    state: Standing | None = None


def _state(offer: Offer) -> Standing:
    if offer.image is None:
        return "absent"
    return "coming" if offer.coming else "here"


def _out(offer: Offer) -> OfferOut:
    entry = offer.entry
    return OfferOut(
        key=entry.key,
        name=entry.spec.name,
        os_family=entry.spec.os_family,
        os_version=entry.spec.os_version,
        maker=entry.maker,
        url=entry.url or None,
        page=entry.page or None,
        state=_state(offer),
        image=str(offer.image.pk) if offer.image is not None else None,
        operation=str(offer.operation.pk) if offer.operation is not None else None,
        problem=offer.problem or None,
        min_memory_mib=entry.spec.min_memory_mib,
        least_disk_gib=entry.spec.least_disk_gib,
    )


@operators.get("/image-catalogue", response=Listed[OfferOut], summary="List well-known images")
def catalogue_list(request: HttpRequest, query: Query[OfferQuery]) -> dict[str, Any]:
    """All of them at once, in the catalogue's order."""
    request.actor.require(Permission.OPERATE)
    refuse_unknown(request, query)
    found = [_out(offer) for offer in catalogue_offers()]
    wanted = query.model_dump(exclude_defaults=True)
    items = [row for row in found if all(getattr(row, name) == value for name, value in wanted.items())]
    return {"items": items, "next": None}


@operators.get("/image-catalogue/{key}", response=OfferOut, summary="Get a well-known image")
def catalogue_get(request: HttpRequest, key: str, response: HttpResponse) -> OfferOut:
    """What of it is here."""
    request.actor.require(Permission.OPERATE)
    offer = next((offer for offer in catalogue_offers() if offer.entry.key == key), None)
    if offer is None:
        raise Missing
    image = offer.image
    response["ETag"] = f'"catalogue-{key}-{image.pk}-{image.version}"' if image is not None else f'"catalogue-{key}"'
    return _out(offer)


@operators.post(
    "/image-catalogue/{key}/fetch", response={202: OperationOut}, exclude_unset=True, summary="Fetch a well-known image"
)
def catalogue_fetch_post(
    request: HttpRequest, key: str, response: HttpResponse, body: Nothing | None = None
) -> Status[OperationOut]:
    """For everybody: for the first time, or what its maker offers by now; checked against the checksum that they state today.

    The operation's subject is the image. 409 `image_coming` while it is on its way.
    """
    _image, operation = catalogue_fetch(key, actor=request.actor)
    return accepted(request, response, operation)
