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


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is sorted; hashable, so that queries can be kept by it."""

    columns: tuple[str, ...]
    down: bool

    def of[Row: Model, Value](self, rows: QuerySet[Row, Value]) -> QuerySet[Row, Value]:
        """``rows`` in this order."""
        return rows.order_by(*(f"-{name}" if self.down else name for name in self.columns))

    def beyond(self, values: Sequence[Any]) -> Q:
        """What comes after the row with these ``values`` in its columns; the first term alone is a range for an index."""
        beyond, upto = ("lt", "lte") if self.down else ("gt", "gte")
        later = Q()
        for position, name in enumerate(self.columns):
            same = Q(**dict(zip(self.columns[:position], values[:position], strict=True)))
            later |= same & Q(**{f"{name}__{beyond}": values[position]})
        return Q(**{f"{self.columns[0]}__{upto}": values[0]}) & later


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a list a page begins: after the row that has ``after`` in the order's columns; None: at its beginning."""

    order: Order
    after: tuple[Any, ...] | None
    mark: str
    """Which list in which order: its cursors say so."""

    def page[Row: Model](self, found: list[Row], limit: int) -> Page[Row]:
        """The page of what was ``found`` from here on, ``limit`` rows and, where there is one, the next."""
        if len(found) <= limit:
            return Page(found, None)
        values = [_plain(found[limit - 1], name) for name in self.order.columns]
        return Page(found[:limit], Signer(salt="cursor").sign_object([self.mark, *values]))


def place_in(model: type[Model], *, sorts: Sorts, sort: str, cursor: str = "") -> Place:
    """Where ``cursor`` leads in the list of ``model``, by ``sort`` (a word of ``sorts``, with ``-`` downwards).

    A cursor belongs to the list and the order it came from; raises ``Invalid`` for any other, and for an unknown word.
    """
    word, down = sort.removeprefix("-"), sort.startswith("-")
    if word not in sorts:
        known = ", ".join(sorts)
        raise Invalid(errors=[FieldError("/sort", "unknown_sort", _("Sort by one of: %s.") % known)])
    order, mark = Order(tuple(sorts[word]), down), f"{model._meta.label_lower} {sort}"
    return Place(order, _open(cursor, mark, model, order.columns) if cursor else None, mark)


def keyset_page[Row: Model](
    rows: QuerySet[Row], *, sorts: Sorts, sort: str, limit: int = LIMIT, cursor: str = ""
) -> Page[Row]:
    """``limit`` rows after ``cursor``, as ``place_in`` reads it; one query, whatever the size of the list."""
    place = place_in(rows.model, sorts=sorts, sort=sort, cursor=cursor)
    if place.after is not None:
        rows = rows.filter(place.order.beyond(place.after))
    return place.page(list(place.order.of(rows)[: limit + 1]), limit)


def _plain(row: Model, name: str) -> Any:
    """A column as JSON can carry it and the column can read it again."""
    value = getattr(row, name)
    return value if isinstance(value, int) else str(value)


def _open(cursor: str, mark: str, model: type[Model], columns: Sequence[str]) -> tuple[Any, ...]:
    try:
        opened = Signer(salt="cursor").unsign_object(cursor)
    except (BadSignature, ValueError, UnicodeError):
        opened = []
    if not isinstance(opened, list) or not opened or opened[0] != mark:
        raise Invalid(
            errors=[FieldError("/cursor", "invalid_cursor", _("This cursor is not of this list in this order."))]
        )
    return tuple(
        model._meta.get_field(name).to_python(value)  # type: ignore[union-attr]
        for name, value in zip(columns, opened[1:], strict=True)
    )
