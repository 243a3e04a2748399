"""A statement as files: what REST answers, turned into what people keep. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

COLUMNS: Final = ("kind", "meter", "word", "unit", "unit_hours", "unit_seconds", "price", "currency", "amount")
"""Of a line, as REST names them."""


def as_csv(statement: Mapping[str, Any]) -> str:
    """The lines as a table with a head."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
    table.writeheader()
    table.writerows(statement["lines"])
    return text.getvalue()
