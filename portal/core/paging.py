"""Lists by keyset: a page begins after the last row of the one before, so that no page costs more than the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.core.signing import BadSignature, Signer
from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from portal.core.errors import FieldError, Invalid

LIMIT: Final = 50
LIMIT_MAX: Final = 500

Sorts = Mapping[str, Sequence[str]]
"""What a list can be sorted by: the public word, and the columns; the last one is unique, none is ever null."""


@dataclass(frozen=True, slots=True)
class Page[T]:
    """Some rows in order, and the cursor that continues after them (None: these were the last)."""

    items: list[T]
    next: str | None

    def of[Other](self, items: list[Other]) -> Page[Other]:
        """The same place in the list, with its rows turned into something else."""
        return Page(items, self.next)


def keyset_page[Row: Model](
    rows: QuerySet[Row], *, sorts: Sorts, sort: str, limit: int = LIMIT, cursor: str = ""
) -> Page[Row]:
    """``limit`` rows after ``cursor``, by ``sort`` (a word of ``sorts``, with ``-`` downwards).

    A cursor belongs to the list and the order it came from; raises ``Invalid`` for any other, and for an unknown word.
    One query, whatever the size of the list.
    """
    word, down = sort.removeprefix("-"), sort.startswith("-")
    if word not in sorts:
        known = ", ".join(sorts)
        raise Invalid(errors=[FieldError("/sort", "unknown_sort", _("Sort by one of: %s.") % known)])
    columns = sorts[word]
    mark = f"{rows.model._meta.label_lower} {sort}"
    if cursor:
        rows = rows.filter(_after(rows.model, columns, _open(cursor, mark), down=down))
    found = list(rows.order_by(*(f"-{name}" if down else name for name in columns))[: limit + 1])
    if len(found) <= limit:
        return Page(found, None)
    last = found[limit - 1]
    values = [_plain(last, name) for name in columns]
    return Page(found[:limit], Signer(salt="cursor").sign_object([mark, *values]))


def _plain(row: Model, name: str) -> Any:
    """A column as JSON can carry it and the column can read it again."""
    value = getattr(row, name)
    return value if isinstance(value, int) else str(value)


def _open(cursor: str, mark: str) -> list[Any]:
    try:
        opened = Signer(salt="cursor").unsign_object(cursor)
    except (BadSignature, ValueError, UnicodeError):
        opened = []
    if not isinstance(opened, list) or not opened or opened[0] != mark:
        raise Invalid(
            errors=[FieldError("/cursor", "invalid_cursor", _("This cursor is not of this list in this order."))]
        )
    return opened[1:]


def _after(model: type[Model], columns: Sequence[str], values: Sequence[Any], *, down: bool) -> Q:
    """Rows beyond ``values`` in the order of ``columns``; its first term alone is a range that an index can use."""
    beyond, upto = ("lt", "lte") if down else ("gt", "gte")
    typed = [model._meta.get_field(name).to_python(value) for name, value in zip(columns, values, strict=True)]  # type: ignore[union-attr]
    later = Q()
    for position, name in enumerate(columns):
        same = Q(**dict(zip(columns[:position], typed[:position], strict=True)))
        later |= same & Q(**{f"{name}__{beyond}": typed[position]})
    return Q(**{f"{columns[0]}__{upto}": typed[0]}) & later
