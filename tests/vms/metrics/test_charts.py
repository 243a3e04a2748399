"""Lines are drawn where something was seen, and nowhere else."""

from __future__ import annotations

import pytest

from vms.views import charts


@pytest.mark.parametrize(
    ("values", "stroke", "area"),
    [
        ([0, 50, 100], "M0.0 10.0 L5.0 5.0 L10.0 0.0", "M0.0 10.0 L5.0 5.0 L10.0 0.0 L10.0 10 L0.0 10Z"),
        ([None, None, None], "", ""),
        ([None, 50, None], "M5.0 5.0h.01", ""),
        ([0, None, 0, 200], "M0.0 10.0h.01 M6.7 10.0 L10.0 0.0", "M6.7 10.0 L10.0 0.0 L10.0 10 L6.7 10Z"),
        ([], "", ""),
    ],
    ids=["whole", "never seen", "once", "a gap, and more than fits", "nothing asked"],
)
def test_paths(values: list[float | None], stroke: str, area: str) -> None:
    assert charts.paths(values, top=100, width=10, height=10) == (stroke, area)


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 3), (3, 3), (3.1, 6), (14, 15), (15.5, 30), (31, 60), (1e9, 1.2e9)], ids=str
)
def test_an_axis_ends_where_thirds_read_well(highest: float, top: float) -> None:
    assert charts.nice(highest) == pytest.approx(top)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (charts.percent(31.24), "31.2 %"),
        (charts.percent(2.36), "2.4 %"),
        (charts.percent(99.97), "100 %"),
        (charts.percent(0), "0 %"),
        (charts.mib(180), "180 MiB"),
        (charts.mib(2662.4), "2.6 GiB"),
        (charts.bytes_per_s(999.4), "999 B/s"),
        (charts.bytes_per_s(999.6), "1 kB/s"),
        (charts.bytes_per_s(1_800_000), "1.8 MB/s"),
        (charts.bits_per_s(1_750_000), "14 Mbit/s"),
        (charts.per_s(5e15), "5000 T/s"),
    ],
)
def test_figures_in_words(words: str, said: str) -> None:
    assert words == said


def test_what_is_old_is_not_called_the_latest() -> None:
    drawn = charts.chart("CPU", [("", "blue", [10, 20, None, None, None])], unit=charts.percent, top=100)

    assert drawn.lines[0].latest == ""
    assert drawn.words == "CPU"
    assert drawn.ticks == ("100 %", "67 %", "33 %", "0 %")


def test_a_spark_says_what_it_shows() -> None:
    drawn = charts.spark("59031 57010 58020 2090")

    assert 'aria-label="CPU over the last hour, lately 31 percent"' in drawn
    assert drawn.count("M") == 2  # a dot and a line
    assert charts.spark("") == ""
