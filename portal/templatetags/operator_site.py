"""How the operators' site draws Django's lists: rows that become cards on a phone, and gauges of what is sold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django import template
from django.contrib.admin.templatetags.admin_list import result_headers, results
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from portal.admin_shown import headed

register = template.Library()
register.filter(headed)


@register.inclusion_tag("admin/_rows.html")
def operator_rows(cl: Any) -> dict[str, Any]:
    """A ChangeList's table; each cell carries its column's name for narrow screens."""
    heads = [
        {
            **head,
            "text": head["text"] if _is_box(head) else headed(head["text"]),
            "box": _is_box(head),
            "ascending": head.get("ascending", False),
            "sort_priority": head.get("sort_priority", 0),
            "sortable": head.get("sortable", False),
        }
        for head in result_headers(cl)
    ]
    labels = ["" if head["box"] else str(head["text"]) for head in heads]
    return {
        "heads": heads,
        "rows": [[_cell(html, label) for html, label in zip(row, labels, strict=True)] for row in results(cl)],
    }


def _is_box(head: Any) -> bool:
    return "action-checkbox" in str(head.get("class_attrib", ""))


def _cell(html: str, label: str) -> SafeString:
    """Django's own ``<td …>`` or ``<th …>``, escaped by it, with a role and its column's name (not on the row's name)."""
    plain = html.strip()
    naming = plain.startswith("<th")
    attributes = 'role="cell"' if naming or not label else format_html('role="cell" data-l="{}"', label)
    body = plain[3:]
    if naming:
        body = body.removesuffix("</th>") + "</td>"
        body = body.replace(' scope="row"', "", 1)
    return mark_safe(f"<td {attributes}{body}")


@register.filter
def chosen(choices: Iterable[Any]) -> str:
    """The words of the chosen filter; empty while it is "All", the first."""
    for place, choice in enumerate(choices):
        if choice["selected"]:
            return str(choice["display"]) if place else ""
    return ""


@register.filter
def paired(panel: Any, row: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Each cell of a panel's row with its head."""
    return list(zip(panel.heads, row, strict=True))


@register.simple_tag
def sold_gauge(share: Any, label: str) -> SafeString:
    """How much of a ``Share`` is used (dark) and sold but idle (light); red where nothing is left to sell."""
    used, sold = min(share.used_percent, 100), max(share.sold_percent - share.used_percent, 0)
    words = _("%(label)s: %(sold)d percent sold, %(used)d percent used") % {
        "label": label,
        "sold": share.sold_percent,
        "used": share.used_percent,
    }
    return format_html(
        '<svg class="gh-gauge" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="{}" x="0" width="{}" height="6"/><rect class="sold" x="{}" width="{}" height="6"/></svg>',
        words, "full" if share.free_percent <= 5 else "used", used, used, sold,
    )  # fmt: skip
