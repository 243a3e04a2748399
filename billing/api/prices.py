"""REST: price lists and prices; everybody reads, operators write."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from django.db.models import QuerySet
from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool

from billing.meters import METERS
from billing.models import Price, PriceList
from billing.services.prices import price_list_write, price_set, price_withdraw
from portal.core.bodies import Body, Listed, Listing, Moment, listed, narrowed
from portal.core.errors import FieldError, Invalid
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.pick import pick

router = Router(tags=["billing"])
LIST_SORTS: Sorts = {"name": ("name",)}
PRICE_SORTS: Sorts = {"valid_from": ("valid_from", "id"), "meter": ("meter", "id")}
type MeterName = Literal["vcpus", "memory_mib", "disk_gib", "snapshot_gib", "image_gib", "backup_gib"]


class PriceListOut(BaseModel):
    """Prices in one currency."""

    id: str
    name: str
    currency: str = Field(description="ISO 4217.")
    tax_percent: str = Field(description="Added to what its prices come to, on statements; prices are without it.")
    is_default: bool = Field(description="The one whose prices stand on the pages and in dry runs.")


class PriceListQuery(Listing):
    """Filters of price lists."""

    sort: str = Field(default="name", max_length=40, description="`name` or `-name`")


class PriceListPatch(Body):
    """What is left out stays."""

    is_default: StrictBool = False


class PriceListIn(PriceListPatch):
    """A list, with the name, currency and tax that it keeps."""

    name: str = Field(max_length=40)
    currency: str = Field(min_length=3, max_length=3)
    tax_percent: Decimal = Field(default=Decimal(0), ge=0, le=100, max_digits=5, decimal_places=2)


class UnitPriceOut(BaseModel):
    """What one unit costs an hour, from a moment on until the next price of the same meter and word begins."""

    id: str
    price_list: str
    currency: str
    meter: MeterName
    unit: str = Field(description="What the amount is for.")
    word: str = Field(
        description="The flavor, storage class or backup store it is for; empty is all without their own."
    )
    amount: str = Field(description="A decimal string, for one unit and hour.")
    valid_from: datetime


class PriceQuery(Listing):
    """Filters of prices."""

    sort: str = Field(default="-valid_from", max_length=40, description="`valid_from`, `meter`, or with `-`")
    meter: str = Field(default="", max_length=20)
    price_list: str = Field(default="", max_length=40, description="A list's name.")


class PriceIn(Body):
    """A price; the one before it holds until this one begins."""

    price_list: str = Field(max_length=40, description="A list's name or id.")
    meter: MeterName
    word: str = Field(default="", max_length=64)
    amount: str = Field(
        pattern=r"^[0-9]{1,10}(\.[0-9]{1,10})?$", description="A decimal string, for one unit and hour."
    )
    valid_from: Moment | None = Field(default=None, description="Not in the past; left out, it is now.")


def list_out(row: PriceList) -> PriceListOut:
    """A price list as JSON shows it."""
    tax = f"{row.tax_percent.normalize():f}"
    return PriceListOut(
        id=str(row.pk), name=row.name, currency=row.currency, tax_percent=tax, is_default=row.is_default
    )


def price_out(row: Price) -> UnitPriceOut:
    """A price as JSON shows it."""
    return UnitPriceOut.model_validate(
        {
            "id": str(row.pk),
            "price_list": row.price_list.name,
            "currency": row.price_list.currency,
            "meter": row.meter,
            "unit": METERS[row.meter].unit,
            "word": row.word,
            "amount": f"{row.amount.normalize():f}",
            "valid_from": row.valid_from,
        }
    )


def _prices() -> QuerySet[Price]:
    return Price.objects.select_related("price_list")


@router.get("/billing/price-lists", response=Listed[PriceListOut], summary="List price lists")
def price_list_list(request: HttpRequest, query: Query[PriceListQuery]) -> dict[str, Any]:
    """Every list."""
    rows = narrowed(PriceList.objects.all(), name__icontains=query.q)
    return listed(request, query, rows, sorts=LIST_SORTS, out=list_out)


@router.get("/billing/price-lists/{list_id}", response=PriceListOut, summary="Get a price list")
def price_list_get(request: HttpRequest, list_id: str, response: HttpResponse) -> PriceListOut:
    """One list."""
    row = find(request, PriceList.objects.all(), list_id)
    response["ETag"] = etag_of(row)
    return list_out(row)


@router.post("/billing/price-lists", response={201: PriceListOut}, summary="Create a price list (operators)")
def price_list_post(request: HttpRequest, response: HttpResponse, body: PriceListIn) -> Status[PriceListOut]:
    """A list without prices."""
    row = price_list_write(None, actor=request.actor, **body.model_dump(exclude_unset=True))
    response["Location"] = f"/api/v1/billing/price-lists/{row.pk}"
    response["ETag"] = etag_of(row)
    return Status(201, list_out(row))


@router.patch("/billing/price-lists/{list_id}", response=PriceListOut, summary="Change a price list (operators)")
def price_list_patch(request: HttpRequest, list_id: str, response: HttpResponse, body: PriceListPatch) -> PriceListOut:
    """Make it the default."""
    request.actor.require(Permission.OPERATE)
    row = find(request, PriceList.objects.all(), list_id)
    row = price_list_write(row, actor=request.actor, **body.model_dump(exclude_unset=True))
    response["ETag"] = etag_of(row)
    return list_out(row)


@router.get("/billing/prices", response=Listed[UnitPriceOut], summary="List prices")
def price_list_prices(request: HttpRequest, query: Query[PriceQuery]) -> dict[str, Any]:
    """Prices of every moment: those that were, that hold, and that are announced."""
    rows = narrowed(_prices(), meter=query.meter, price_list__name=query.price_list, word__icontains=query.q)
    return listed(request, query, rows, sorts=PRICE_SORTS, out=price_out)


@router.post("/billing/prices", response={201: UnitPriceOut}, summary="Set a price (operators)")
def price_post(request: HttpRequest, body: PriceIn) -> Status[UnitPriceOut]:
    """From a moment on."""
    request.actor.require(Permission.OPERATE)
    errors: list[FieldError] = []
    price_list = pick(PriceList.objects.all(), body.price_list, "/price_list", errors)
    if price_list is None:
        raise Invalid(errors=errors)
    words = body.model_dump(exclude={"price_list", "amount"})
    row = price_set(price_list, actor=request.actor, amount=Decimal(body.amount), **words)
    return Status(201, price_out(row))


@router.delete("/billing/prices/{price_id}", response={204: None}, summary="Withdraw a price (operators)")
def price_delete(request: HttpRequest, price_id: str) -> Status[None]:
    """One that has not begun; 409 `price_began` of one that has."""
    request.actor.require(Permission.OPERATE)
    price_withdraw(find(request, _prices(), price_id), actor=request.actor)
    return Status(204, None)
