"""JSON that is safe to hand on: small, shallow, with every name once, and only text that a database can keep."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from django.core.exceptions import RequestDataTooBig
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from portal.core.errors import FieldError, Invalid, PortalError
from portal.core.ids import uuid_or_none
from portal.core.paging import LIMIT, LIMIT_MAX, Sorts, keyset_page

DEPTH_MAX: Final = 16
NODES_MAX: Final = 20_000


class UnsupportedMedia(PortalError):
    """A body that is not JSON."""

    code = "unsupported_media_type"
    http_status = 415
    message = gettext_lazy("Bodies are JSON: send Content-Type: application/json.")


class TooLarge(PortalError):
    """More bytes than a body may have."""

    code = "too_large"
    http_status = 413
    message = gettext_lazy("The request is too large.")


def _in_utc(moment: datetime) -> datetime:
    """The same moment in UTC: databases know fewer offsets than people write. Raises ``ValueError`` at the ends of time."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("there is no such moment in UTC") from error


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time as somebody gives it: with its offset, and from then on in UTC."""


class Body(BaseModel):
    """A request's body: a field it does not know is refused, never dropped."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False, hide_input_in_errors=True)


class Nothing(Body):
    """An empty object, for requests that say everything in their path."""


class Listing(BaseModel):
    """What every list can be asked for; each list adds its filters and the order it comes in."""

    limit: int = Field(default=LIMIT, ge=1, le=LIMIT_MAX, description="How many items at most.")
    cursor: str = Field(default="", max_length=1000, description="`next` of the page before.")
    q: str = Field(default="", max_length=100, description="Items whose name holds this.")
    sort: str = Field(default="name", max_length=40)


class Listed[Item](BaseModel):
    """A page of a list; `next` is the cursor of the page after it, null on the last."""

    items: list[Item]
    next: str | None

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """``GuestList``, for the document."""
        return f"{params[0].__name__.removesuffix('Out')}List"


def listed[Row: Model](
    request: HttpRequest, query: Listing, rows: QuerySet[Row], *, sorts: Sorts, out: Callable[[Row], BaseModel]
) -> dict[str, Any]:
    """The page of ``rows`` that was asked for, each row turned by ``out``; as ``Listed`` of that."""
    refuse_unknown(request, query)
    page = keyset_page(rows, sorts=sorts, sort=query.sort, limit=query.limit, cursor=query.cursor)
    return {"items": [out(row) for row in page.items], "next": page.next}


def narrowed[Row: Model](rows: QuerySet[Row], **wanted: object) -> QuerySet[Row]:
    """``rows`` by the filters that were given; one left empty narrows nothing."""
    return rows.filter(**{column: value for column, value in wanted.items() if value not in (None, "")})


def narrowed_to[Row: Model](rows: QuerySet[Row], **ids: str) -> QuerySet[Row]:
    """``rows`` that point at what these ids name; an empty one narrows nothing, and what is no id finds nothing."""
    for column, text in ids.items():
        if text:
            pk = uuid_or_none(text)
            rows = rows.filter(**{column: pk}) if pk is not None else rows.none()
    return rows


def refuse_unknown(request: HttpRequest, query: BaseModel) -> None:
    """Raise ``Invalid`` for a filter that is not there: ignored, it would answer with more than was asked for."""
    known = {field.alias or name for name, field in type(query).model_fields.items()}
    unknown = sorted(set(request.GET) - known)
    if unknown:
        message = _("There is no such parameter.")
        raise Invalid(errors=[FieldError(f"/{name}", "unknown_parameter", message) for name in unknown])


def read_json(request: HttpRequest) -> Any:
    """The request's body as JSON values, None where it is empty; raises ``UnsupportedMedia``, ``TooLarge`` or ``Invalid``."""
    try:
        raw = request.body
    except RequestDataTooBig as error:
        raise TooLarge from error
    if not raw:
        return None
    if request.content_type != "application/json":
        raise UnsupportedMedia
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _invalid("invalid_json", _("This is not JSON.")) from error
    _check(value)
    return value


def check_text(text: str, pointer: str) -> None:
    """Raise ``Invalid`` for text that no database keeps: NUL, or half of a surrogate pair."""
    if "\0" in text or any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise _invalid("invalid_text", _("This holds a character that is not text."), pointer)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check(value: Any) -> None:
    """Walk without recursion; depth and number of values are bounded, strings are text."""
    left: list[tuple[Any, int, str]] = [(value, 1, "")]
    seen = 0
    while left:
        node, depth, pointer = left.pop()
        seen += 1
        if depth > DEPTH_MAX or seen > NODES_MAX:
            raise _invalid("too_deep", _("This is nested too deeply, or holds too many values."))
        if isinstance(node, str):
            check_text(node, pointer)
        elif isinstance(node, dict):
            for name, child in node.items():
                check_text(name, pointer)
                left.append((child, depth + 1, f"{pointer}/{name}"))
        elif isinstance(node, list):
            left.extend((child, depth + 1, f"{pointer}/{number}") for number, child in enumerate(node))


def _invalid(code: str, message: str, pointer: str = "") -> Invalid:
    return Invalid(errors=[FieldError(pointer, code, message)])
