"""Small drawn things that every page needs: icons, states, gauges and times. No logic about the portal's nouns."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

STATES = frozenset(
    {"building", "running", "stopped", "paused", "suspended", "migrating", "deleting", "error", "unknown"}
)
STATE_OF = {
    "binned": "deleting",
    "queued": "building",
    "succeeded": "running",
    "failed": "error",
    "cancelled": "stopped",
    "uploading": "building",
    "importing": "building",
    "ready": "running",
    "deprecated": "stopped",
    "planned": "building",
    "creating": "building",
    "reverting": "building",
    "making": "building",
    "expired": "stopped",
}
"""Words of operations, images, volumes and snapshots that borrow a machine state's shape."""
SYSTEMS = frozenset({"debian", "ubuntu", "windows", "alpine", "fedora", "rocky"})
LEVELS = {"ok": "used", "warn": "warn", "full": "full"}


@lru_cache(maxsize=256)
def sprite(name: str) -> str:
    """Address of one symbol in the sprite that ``bin/assets`` built."""
    return f"{static('icons/sprite.svg')}#{name}"


@register.simple_tag
@lru_cache(maxsize=256)
def icon(name: str, extra: str = "") -> SafeString:
    """An outline icon in the text's colour, hidden from screen readers; ``extra`` adds classes."""
    return format_html('<svg class="icon {}" aria-hidden="true"><use href="{}"/></svg>', extra, sprite(name))


@register.simple_tag
@lru_cache(maxsize=256)
def dot(status: str, extra: str = "") -> SafeString:
    """The shape of a state. Always put its word beside it: the shape is hidden from screen readers."""
    shape = STATE_OF.get(status, status)
    shape = shape if shape in STATES else "unknown"
    return format_html(
        '<svg class="gh-dot {} {}" aria-hidden="true"><use href="{}"/></svg>', shape, extra, sprite(f"st-{shape}")
    )


@register.simple_tag
@lru_cache(maxsize=256)
def os_glyph(family: str) -> SafeString:
    """The mark of an operating system; a cube for one we have no mark of."""
    known = family if family in SYSTEMS else "custom"
    return format_html(
        '<svg class="gh-os os-{}" aria-hidden="true"><use href="{}"/></svg>', known, sprite(f"os-{known}")
    )


@register.simple_tag
def brand() -> SafeString:
    """The house."""
    return format_html('<svg aria-hidden="true"><use href="{}"/></svg>', sprite("brand"))


@register.simple_tag
def gauge(
    percent: float | None,
    label: str,
    level: str = "ok",
    after: float | None = None,
    mark: float | None = None,
    lent: float | None = None,
) -> SafeString:
    """A share of a limit, 0 to 100. ``after`` draws before in grey and what is added in blue, red where it does not fit.

    ``level`` is ok, warn or full. Without ``after``: a line at ``mark`` (a soft limit), and from ``lent`` on another ground
    (what is there for a while only). Widths are SVG attributes, since the content security policy forbids inline styles.
    """
    now = min(max(float(percent or 0), 0.0), 100.0)
    if after is None:
        bars = format_html('<rect class="{}" x="0" width="{}" height="6"/>', LEVELS.get(level, "used"), f"{now:.1f}")
        if lent is not None:
            ground = '<rect class="lent" x="{}" width="{}" height="6"/>{}'
            bars = format_html(ground, f"{lent:.1f}", f"{100 - lent:.1f}", bars)
        if mark is not None:
            bars = format_html('{}<rect class="mark" x="{}" width="1" height="6"/>', bars, f"{min(mark, 99.0):.1f}")
        return _gauge(bars, label)
    then = min(max(float(after), now), 100.0)
    gap = 0.6 if then > now else 0.0
    bars = format_html(
        '<rect class="was" x="0" width="{}" height="6"/><rect class="gap" x="{}" width="{}" height="6"/>'
        '<rect class="{}" x="{}" width="{}" height="6"/>',
        f"{now:.1f}", f"{now:.1f}", gap, "over" if level == "full" and after > 100 else "add",
        f"{now + gap:.1f}", f"{max(then - now - gap, 0):.1f}",
    )  # fmt: skip
    return _gauge(bars, label)


def _gauge(bars: SafeString, label: str) -> SafeString:
    return format_html(
        '<svg class="gh-gauge" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        label, bars,
    )  # fmt: skip


@register.simple_tag
def when(at: datetime | None, style: str = "relative") -> SafeString | str:
    """A time that the browser rewrites in the reader's own zone; UTC without scripts, a dash for none.

    ``style`` is relative ("9 min ago" up to a day, then the date), date ("25 Nov, 18:00"), clock ("18:00:07"), minute ("18:00")
    or day ("25 Nov").
    """
    if at is None:
        return "–"
    utc = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}" data-time="{}">{} UTC</time>',
        utc.isoformat(timespec="seconds").replace("+00:00", "Z"), style, utc.strftime("%-d %b, %H:%M"),
    )  # fmt: skip
