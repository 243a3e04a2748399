"""Strong entity tags from a row's ``version``, and ``If-Match``: nobody overwrites what they have not seen."""

from __future__ import annotations

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.http import parse_etags

from portal.core.errors import Missing, Stale
from portal.core.ids import uuid_or_none

CHANGES = frozenset({"PATCH", "PUT", "DELETE"})


def etag_of(row: Model) -> str:
    """``"guest-<id>-<version>"``; rows that nobody edits have version 1."""
    return f'"{row._meta.model_name}-{row.pk}-{getattr(row, "version", 1)}"'


def if_match(request: HttpRequest, etag: str) -> None:
    """Raise ``Stale`` where ``If-Match`` is given and names another version."""
    given = request.headers.get("If-Match")
    if given is None:
        return
    wanted = parse_etags(given)
    if wanted != ["*"] and etag not in wanted:
        raise Stale


def find[Row: Model](request: HttpRequest, rows: QuerySet[Row], pk: str) -> Row:
    """The row of that id among ``rows``; raises ``Missing`` for any other, whatever its form.

    Where the request changes things and says ``If-Match``, the row is locked before it is compared, so that the answer
    still holds when the change is written. Runs in the request's transaction then.
    """
    guarded = request.method in CHANGES and "If-Match" in request.headers
    row = (rows.select_for_update(of=("self",), no_key=True) if guarded else rows).filter(pk=uuid_or_none(pk)).first()
    if row is None:
        raise Missing
    if guarded:
        if_match(request, etag_of(row))
    return row
