"""Figures drawn as lines: paths for SVG, the words beside them. Pure; knows nothing of machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext as _

WIDTH, HEIGHT = 600, 112
SPARK_WIDTH, SPARK_HEIGHT, SPARK_POINTS = 88, 24, 60
LATELY: Final = 3
"""How many of the last points may hold what is called the latest: the present one is never whole."""
_SPARK_X: Final = tuple(f"{SPARK_WIDTH * minute / (SPARK_POINTS - 1):.1f}" for minute in range(SPARK_POINTS + 1))
_SPARK_Y: Final = tuple(f"{SPARK_HEIGHT * (100 - value) / 100:.1f}" for value in range(101))
"""Drawn by the hundred, so from tables."""
NICE: Final = (3, 6, 12, 15, 30)
"""Tops of an axis that thirds of which read well."""

type Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: its name and colour, its two paths, and the words of each of its values, one a point.

    ``latest`` is the newest of them, empty where the last few points have none.
    """

    label: str
    colour: str
    stroke: str
    area: str
    words: tuple[str, ...]

    @property
    def latest(self) -> str:
        return next((words for words in reversed(self.words[-LATELY:]) if words), "")


@dataclass(frozen=True, slots=True)
class Chart:
    """``words`` say what a screen reader reads; ``ticks`` are the words at the side, from the top down."""

    title: str
    lines: tuple[Line, ...]
    words: str
    ticks: tuple[str, ...]


def chart(
    title: str, lines: Sequence[tuple[str, str, Values]], *, unit: Callable[[float], str], top: float = 0
) -> Chart:
    """Lines (name, colour, values) over one axis from zero to ``top``, or to what holds the highest of them."""
    known = [value for _label, _colour, values in lines for value in values if value is not None]
    top = top or nice(max(known, default=0))
    drawn = tuple(
        Line(
            label,
            colour,
            *paths(values, top=top, width=WIDTH, height=HEIGHT),
            tuple("" if value is None else unit(value) for value in values),
        )
        for label, colour, values in lines
    )
    said = [f"{line.label} {line.latest}".strip() for line in drawn if line.latest]
    words = _("%(title)s, lately %(figures)s") % {"title": title, "figures": ", ".join(said)} if said else title
    return Chart(title, drawn, words, tuple(unit(_tick(top * part / 3)) for part in (3, 2, 1, 0)))


def _tick(value: float) -> float:
    """What stands beside a line of the grid: whole, unless it is small."""
    return value if value < 10 else round(value)


def nice(highest: float) -> float:
    """The least top of an axis that holds ``highest``: 3, 6, 12, 15, 30, 60, …"""
    size = 1.0
    while True:
        for step in NICE:
            if highest <= step * size:
                return step * size
        size *= 10


def paths(values: Values, *, top: float, width: float, height: float) -> tuple[str, str]:
    """The line through ``values``, and the area below it; a None breaks both, and one value alone is a dot."""
    each = width / max(1, len(values) - 1)
    stroke, area = [], []
    for begin, run in _runs(values):
        points = [
            f"{(begin + index) * each:.1f} {height * (1 - min(value, top) / top):.1f}"
            for index, value in enumerate(run)
        ]
        stroke.append(f"M{' L'.join(points)}" if len(points) > 1 else f"M{points[0]}h.01")
        if len(points) > 1:
            last = (begin + len(run) - 1) * each
            area.append(f"M{' L'.join(points)} L{last:.1f} {height} L{begin * each:.1f} {height}Z")
    return " ".join(stroke), " ".join(area)


def _runs(values: Values) -> Iterator[tuple[int, list[float]]]:
    """Stretches without a gap, each with where it begins."""
    run: list[float] = []
    for index, value in enumerate([*values, None]):
        if value is not None:
            run.append(value)
        elif run:
            yield index - len(run), run
            run = []


@lru_cache(maxsize=4096)
def _spark(text: str, _language: str | None) -> SafeString:
    found = dict(sorted(divmod(int(number), 1000) for number in text.split()))
    runs: list[list[str]] = []
    for minute, value in found.items():
        if minute - 1 not in found:
            runs.append([])
        runs[-1].append(f"{_SPARK_X[minute]} {_SPARK_Y[value]}")
    lines = [f"M{' L'.join(run)}{'h.01' if len(run) == 1 else ''}" for run in runs]
    return format_html(
        '<svg class="gh-spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path class="ln" d="{}"/></svg>',
        SPARK_WIDTH, SPARK_HEIGHT, _("CPU over the last hour, lately %d percent") % found[max(found)], " ".join(lines),
    )  # fmt: skip


def spark(text: str) -> SafeString:
    """A line without axes from ``cpu_sparks``; nothing where there is none."""
    return _spark(text, get_language()) if text else SafeString("")


def percent(value: float) -> str:
    """``31.2 %``."""
    return f"{_short(value)} %"


def mib(value: float) -> str:
    """``2.6 GiB``, ``180 MiB``."""
    return f"{_short(value / 1024)} GiB" if value >= 1024 else f"{_short(value)} MiB"


def bytes_per_s(value: float) -> str:
    """``1.8 MB/s``."""
    return _scaled(value, "B/s")


def bits_per_s(value: float) -> str:
    """Bytes a second as people speak of networks: ``14 Mbit/s``."""
    return _scaled(value * 8, "bit/s")


def per_s(value: float) -> str:
    """``1.2 k/s``."""
    return _scaled(value, "/s")


def _scaled(value: float, unit: str) -> str:
    for prefix in ("", "k", "M", "G"):
        if value < 999.5:
            return f"{_short(value)} {prefix}{unit}"
        value /= 1000
    return f"{_short(value)} T{unit}"


def _short(value: float) -> str:
    """Three figures."""
    return f"{value:.1f}".removesuffix(".0") if value < 99.95 else f"{value:.0f}"
