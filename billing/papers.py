"""A statement as files: what REST answers, turned into what people keep. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

COLUMNS: Final = ("kind", "meter", "word", "unit", "unit_hours", "unit_seconds", "price", "currency", "amount")
TAXED: Final = "tax_percent"
"""Of a line, as REST names them."""


def as_csv(statement: Mapping[str, Any]) -> str:
    """The lines as a table with a head."""
    text = io.StringIO()
    taxed = any(TAXED in line for line in statement["lines"])
    table = csv.DictWriter(text, (*COLUMNS, TAXED) if taxed else COLUMNS)
    table.writeheader()
    table.writerows(statement["lines"])
    return text.getvalue()
