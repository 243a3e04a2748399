"""What makes lists of machines cheap: addresses put together without a resolver, and rows that are rendered once."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final
from uuid import UUID

from django import template
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from vms.views.charts import spark

if TYPE_CHECKING:
    from vms.views.shapes import GuestShown

register = template.Library()
SOMEBODY: Final = UUID(int=0)
SPARK: Final = "<!-- spark -->"
"""Where the sparkline comes in a row's text; what people name things is escaped and cannot say it."""
ROWS_KEPT: Final = 1000
"""Some 4 MiB a process."""


@register.simple_tag
def guest_url(name: str, slug: str, pk: UUID, *more: str) -> str:
    """The same as ``{% url "vms:…" slug pk … %}``, which in fifty rows costs more than all the rest of them together."""
    before, after = _around(name, slug, *more)
    return f"{before}{pk}{after}"


@lru_cache(maxsize=4096)
def _around(name: str, slug: str, *more: str) -> tuple[str, str]:
    """What stands before and after the machine's id in that address; ``more`` comes behind it."""
    before, _id, after = reverse(f"vms:{name}", args=[slug, SOMEBODY, *more]).partition(f"/{SOMEBODY}/")
    return f"{before}/", f"/{after}"


@register.simple_tag
def guest_row(guest: GuestShown, slug: str) -> SafeString:
    """A machine's row in a list. It depends on nothing but what is shown, so the text of one that did not change is kept.

    Its sparkline is drawn into the text that was kept.
    """
    return SafeString(_row(guest, slug, get_language()).replace(SPARK, spark(guest.spark), 1))


@lru_cache(maxsize=ROWS_KEPT)
def _row(guest: GuestShown, slug: str, _language: str | None) -> SafeString:
    return render_to_string("vms/_guest_row.html", {"guest": guest, "slug": slug, "spark": SafeString(SPARK)})


@register.simple_tag
def guest_spark(guest: GuestShown) -> SafeString:
    """A machine's CPU over the last hour, in a row that stands alone."""
    return spark(guest.spark)
