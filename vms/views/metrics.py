"""What a machine used, as the tab of its page shows it: charts, or the same figures as a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.clock import now
from tenants.types import HttpRequest
from vms.models import Guest
from vms.selectors.metrics import Rates, Series, metric_series
from vms.views import charts
from vms.views.charts import Chart


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time that can be chosen: its word, its length, minutes a point, how its times are written."""

    label: str | Promise
    lasts: timedelta
    step: int
    times: str


RANGES: Final = {
    "hour": Range(gettext_lazy("1 h"), timedelta(hours=1), 1, "minute"),
    "day": Range(gettext_lazy("24 h"), timedelta(days=1), 5, "minute"),
    "month": Range(gettext_lazy("30 d"), timedelta(days=30), 120, "day"),
    "year": Range(gettext_lazy("1 year"), timedelta(days=365), 1440, "day"),
}
TICKS: Final = 5


def metrics_context(request: HttpRequest, guest: Guest) -> dict[str, Any]:
    """What ``vms/_metrics.html`` needs; ``?range=`` chooses how far back, ``?as=table`` figures instead of lines."""
    name = request.GET.get("range", "hour")
    chosen = RANGES.get(name) or RANGES["hour"]
    at, as_table = now(), request.GET.get("as") == "table"
    series = metric_series(guest, since=at - chosen.lasts, until=at, step=chosen.step)
    query = "&as=table" if as_table else ""
    return {
        "ranges": [
            {"label": each.label, "url": f"?tab=metrics&range={key}{query}", "current": each is chosen}
            for key, each in RANGES.items()
        ],
        "ways": [
            {"label": _("Charts"), "url": f"?tab=metrics&range={name_of(chosen)}", "current": not as_table},
            {"label": _("Table"), "url": f"?tab=metrics&range={name_of(chosen)}&as=table", "current": as_table},
        ],
        "times": chosen.times,
        "ticks": _ticks(series),
        "begins": series.start,
        "step_s": series.step * 60,
        "charts": [] if as_table else _charts(guest, series),
        "table": _table(series) if as_table else None,
    }


def name_of(chosen: Range) -> str:
    """The word of an address for it."""
    return next(name for name, each in RANGES.items() if each is chosen)


def _ticks(series: Series) -> list[datetime]:
    """Times at even distances, the first and the last point's among them."""
    last = len(series.points) - 1
    return [series.at(round(last * tick / (TICKS - 1))) for tick in range(TICKS)]


def _charts(guest: Guest, series: Series) -> list[Chart]:
    def of(name: str) -> list[float | None]:
        return [None if rates is None else getattr(rates, name) for rates in series.points]

    read, written, received, sent = _("Read"), _("Written"), _("In"), _("Out")
    return [
        charts.chart(_("CPU"), [("", "blue", of("cpu_percent"))], unit=charts.percent, top=100),
        charts.chart(_("Memory"), [("", "violet", of("memory_used_mib"))], unit=charts.mib, top=guest.memory_mib),
        charts.chart(
            _("Disk"),
            [(read, "teal", of("disk_read_bytes_per_s")), (written, "amber", of("disk_write_bytes_per_s"))],
            unit=charts.bytes_per_s,
        ),
        charts.chart(
            _("Network"),
            [(received, "violet", of("net_in_bytes_per_s")), (sent, "blue", of("net_out_bytes_per_s"))],
            unit=charts.bits_per_s,
        ),
        charts.chart(
            _("Disk operations"),
            [(read, "teal", of("disk_read_ops_per_s")), (written, "amber", of("disk_write_ops_per_s"))],
            unit=charts.per_s,
        ),
        charts.chart(
            _("Packets"),
            [(received, "violet", of("net_in_packets_per_s")), (sent, "blue", of("net_out_packets_per_s"))],
            unit=charts.per_s,
        ),
    ]


def _table(series: Series) -> dict[str, Any]:
    """The newest first; what was not seen has no row."""
    columns = [
        (_("CPU"), "cpu_percent", charts.percent),
        (_("Memory"), "memory_used_mib", charts.mib),
        (_("Disk read"), "disk_read_bytes_per_s", charts.bytes_per_s),
        (_("Disk written"), "disk_write_bytes_per_s", charts.bytes_per_s),
        (_("Reads"), "disk_read_ops_per_s", charts.per_s),
        (_("Writes"), "disk_write_ops_per_s", charts.per_s),
        (_("Network in"), "net_in_bytes_per_s", charts.bits_per_s),
        (_("Network out"), "net_out_bytes_per_s", charts.bits_per_s),
        (_("Packets in"), "net_in_packets_per_s", charts.per_s),
        (_("Packets out"), "net_out_packets_per_s", charts.per_s),
    ]

    def cells(rates: Rates) -> list[dict[str, str]]:
        found = []
        for label, name, unit in columns:
            value = getattr(rates, name)
            found.append({"label": label, "value": "–" if value is None else unit(value)})
        return found

    rows = [{"at": series.at(index), "cells": cells(each)} for index, each in enumerate(series.points) if each]
    return {"columns": [label for label, _name, _unit in columns], "rows": rows[::-1]}
