"""Words in a body that name rows: by id or by name, and the same refusal for what is absent and what is foreign."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _

from portal.core.errors import FieldError, Invalid
from portal.core.ids import uuid_or_none


def pick[Row: Model](rows: QuerySet[Row], text: str, pointer: str, errors: list[FieldError]) -> Row | None:
    """The row of that id or name; None, with a fault added to ``errors``, where there is none."""
    pk = uuid_or_none(text)
    row = rows.filter(**({"name": text} if pk is None else {"pk": pk})).first()
    if row is None:
        errors.append(FieldError(pointer, "unknown", _("There is nothing of that id or name.")))
    return row


def pick_all[Row: Model](
    rows: QuerySet[Row], texts: Sequence[str], pointer: str, errors: list[FieldError]
) -> tuple[Row, ...]:
    """The rows of several ids or names, in their order."""
    found = [pick(rows, text, f"{pointer}/{number}", errors) for number, text in enumerate(texts)]
    return tuple(row for row in found if row is not None)


def refuse(errors: Sequence[FieldError]) -> None:
    """Raise ``Invalid`` with all faults, if there are any."""
    if errors:
        raise Invalid(errors=errors)
