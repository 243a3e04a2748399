"""How the operators' site shows things: columns, links, tables and notes; what any of its pages may be made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from portal.templatetags.portal_ui import dot, when

Words = str | Promise
Cell = str | SafeString


@dataclass(frozen=True, slots=True)
class Panel:
    """A table on a row's page: heads, rows of cells, and what to say when there are none."""

    title: Words
    heads: Sequence[Words]
    rows: Sequence[Sequence[Cell]]
    empty: Words = ""
    more: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to know about a row; ``level`` is red, amber or blue."""

    level: str
    title: Words
    words: Words = ""


def moment(field: str, label: Words, style: str = "relative") -> Any:
    """A column for a time, shown in the reader's own zone."""

    @admin.display(description=label, ordering=field)  # type: ignore[arg-type]  # the stubs know no lazy text here
    def show(self: Any, row: Any) -> str:
        return when(getattr(row, field), style)

    return show


def column(field: str, label: Words, show: Callable[[Any], object] = str) -> Any:
    """A column under a name for the screen instead of the model's own, as ``show`` writes its value; a dash for none."""

    @admin.display(description=label, ordering=field)  # type: ignore[arg-type]  # the stubs know no lazy text here
    def shown(self: Any, row: Any) -> object:
        value = getattr(row, field)
        return "–" if value in (None, "") else show(value)

    return shown


def choice(
    parameter: str,
    title: Words,
    words: Callable[[], Iterable[tuple[object, Words]]],
    rows: Callable[[str], Q],
) -> type[admin.SimpleListFilter]:
    """A filter beside a list: each of ``words`` (value, word), and which rows it means; another value narrows nothing."""
    heading = title

    class Choice(admin.SimpleListFilter):
        title = heading  # type: ignore[assignment]  # the stubs know no lazy text here
        parameter_name = parameter

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(str(value), str(word)) for value, word in words()]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            known = {value for value, _word in self.lookup_choices}
            chosen = self.value()
            return queryset.filter(rows(chosen)) if chosen in known else queryset

    return Choice


def state(shape: str, word: Words) -> SafeString:
    """A state's shape and its word."""
    return format_html('<span class="gh-state">{}{}</span>', dot(shape), word)


def mono(text: object) -> SafeString:
    """An address, a path, a name that machines read."""
    return format_html('<span class="mono">{}</span>', text)


def verbatim(text: object) -> SafeString:
    """Text whose lines stay as they are: what a program said, or JSON."""
    return format_html('<pre class="mono tiny">{}</pre>', text)


def headed(text: object) -> str:
    """A label with a capital, but for words that have their own (vCPU)."""
    words = str(text)
    return words if words[1:2].isupper() else words[:1].upper() + words[1:]


def yes_no(value: object) -> str:
    """A truth in a word."""
    return _("Yes") if value else _("No")


def labelled(row: Model | None, label: str = "") -> Cell:
    """A link to a row's page on this site; a dash for none."""
    if row is None:
        return "–"
    address = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote(row.pk)])
    return format_html('<a href="{}">{}</a>', address, label or str(row))


def cells(rows: Iterable[Sequence[Cell]]) -> Iterator[Sequence[Cell]]:
    """Rows of a panel, a dash for what is empty."""
    for row in rows:
        yield [cell or "–" for cell in row]
