"""Out of looks that come late, twice and in any order, nothing is counted that was not carried, and nothing twice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.flows import Look, moved

DAWN = datetime(2026, 1, 1, tzinfo=UTC)


def look(run: str, in_bytes: int, out_bytes: int = 0, *, second: int = 0, cpu: int | None = None) -> Look:
    return Look(run=run, in_bytes=in_bytes, out_bytes=out_bytes, at=DAWN + timedelta(seconds=second), cpu_ns=cpu)


@dataclass
class Counter:
    """What the row does with looks."""

    total: tuple[int, int] = (0, 0)
    last: Look | None = None
    is_closed: bool = False

    def take(self, look: Look, *, is_last: bool = False) -> None:
        found = moved(self.last, look, is_closed=self.is_closed)
        if found is None:
            return
        assert found.in_bytes >= 0
        assert found.out_bytes >= 0
        self.total = (self.total[0] + found.in_bytes, self.total[1] + found.out_bytes)
        self.last, self.is_closed = found.last, is_last


@dataclass
class Card:
    """A card that carries, is unplugged, and whose machine is started anew; ``truth`` is what it has carried in all."""

    truth: list[int] = field(default_factory=lambda: [0, 0])
    raw: list[int] = field(default_factory=lambda: [0, 0])
    run: int = 0
    second: int = 0
    cpu: int = 0
    seen: list[tuple[Look, bool]] = field(default_factory=list)

    def act(self, deed: tuple[str, int, int]) -> None:
        what, inbound, outbound = deed
        self.second += 1
        self.cpu += 1
        if what == "carry":
            self.raw = [self.raw[0] + inbound, self.raw[1] + outbound]
            self.truth = [self.truth[0] + inbound, self.truth[1] + outbound]
        elif what == "replug":
            self.raw = [0, 0]
        elif what in ("restart", "stop"):
            if what == "stop":
                self.look(cpu=None, is_last=True)
            self.run, self.raw, self.cpu = self.run + 1, [0, 0], 0
        else:
            self.look(cpu=self.cpu)

    def look(self, *, cpu: int | None, is_last: bool = False) -> None:
        self.seen.append((look(f"run-{self.run}", *self.raw, second=self.second, cpu=cpu), is_last))


BYTES = st.integers(0, 5000)
DEEDS = st.tuples(st.sampled_from(["carry", "carry", "look", "restart", "stop"]), BYTES, BYTES)
ALL_DEEDS = st.tuples(st.sampled_from(["carry", "carry", "look", "look", "replug", "restart", "stop"]), BYTES, BYTES)


@given(st.lists(DEEDS, max_size=40))
def test_in_order_everything_that_was_looked_at_is_counted_once(deeds: list[tuple[str, int, int]]) -> None:
    card, counter = Card(), Counter()
    for deed in deeds:
        card.act(deed)
    known: dict[str, Look] = {}
    for seen, is_last in card.seen:
        counter.take(seen, is_last=is_last)
        known[seen.run] = seen

    assert counter.total == (
        sum(each.in_bytes for each in known.values()),
        sum(each.out_bytes for each in known.values()),
    )


@given(st.lists(DEEDS, max_size=40))
def test_with_a_look_before_each_end_it_is_what_was_carried(deeds: list[tuple[str, int, int]]) -> None:
    card, counter = Card(), Counter()
    for deed in [*(("stop", *rest) if what == "restart" else (what, *rest) for what, *rest in deeds), ("stop", 0, 0)]:
        card.act(deed)  # type: ignore[arg-type]
    for seen, is_last in card.seen:
        counter.take(seen, is_last=is_last)

    assert counter.total == tuple(card.truth)


@given(st.lists(ALL_DEEDS, max_size=40), st.data())
def test_late_and_doubled_looks_count_nothing_that_was_not_carried(
    deeds: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    """In any order within a run; of a run that is over, some may still come while the next one is looked at."""
    card, counter = Card(), Counter()
    for deed in deeds:
        card.act(deed)
    doubled = [*card.seen, *data.draw(st.lists(st.sampled_from(card.seen), max_size=10) if card.seen else st.just([]))]
    shuffled = data.draw(st.permutations(doubled))
    order = sorted(shuffled, key=lambda each: each[0].run) if data.draw(st.booleans()) else shuffled
    for seen, is_last in order:
        counter.take(seen, is_last=is_last)

    assert counter.total[0] <= card.truth[0]
    assert counter.total[1] <= card.truth[1]


@given(st.lists(ALL_DEEDS, max_size=30), st.integers(1, 5))
def test_each_look_said_again_at_once_changes_nothing(deeds: list[tuple[str, int, int]], times: int) -> None:
    card, once, often = Card(), Counter(), Counter()
    for deed in deeds:
        card.act(deed)
    for seen, is_last in card.seen:
        once.take(seen, is_last=is_last)
        for _time in range(times):
            often.take(seen, is_last=is_last)

    assert once == often


@pytest.mark.parametrize(
    ("last", "seen", "is_closed", "more"),
    [
        (None, look("a", 5, 6), False, (5, 6)),
        (look("a", 5, 6, cpu=1), look("a", 7, 6, cpu=2), False, (2, 0)),
        (look("a", 5, 6, cpu=1), look("a", 4, 9, cpu=2), False, (4, 9)),
        (look("a", 5, 6, cpu=2), look("a", 4, 9, cpu=1), False, None),
        (look("a", 5, 6, cpu=2), look("a", 9, 9, cpu=1), False, None),
        (look("a", 5, 6, cpu=1), look("a", 4, 6), False, None),
        (look("a", 5, 6, cpu=1), look("a", 4, 6, cpu=2), True, None),
        (look("a", 5, 6, cpu=1), look("a", 8, 6, cpu=2), True, (3, 0)),
        (look("a", 5, 6, second=5), look("b", 4, 6, second=9), False, (4, 6)),
        (look("a", 5, 6, second=5), look("b", 9, 9, second=4), False, None),
    ],
    ids=["first", "more", "replugged", "older", "older though more", "a last look that came late", "late after the last look",
         "went on after all", "started anew", "of the start before"],
)  # fmt: skip
def test_one_look_after_another(last: Look | None, seen: Look, is_closed: bool, more: tuple[int, int] | None) -> None:
    found = moved(last, seen, is_closed=is_closed)

    assert (None if found is None else (found.in_bytes, found.out_bytes)) == more


def test_what_a_look_without_a_clock_knew_is_not_forgotten() -> None:
    found = moved(look("a", 5, 6, cpu=7, second=3), look("a", 6, 6, second=2))

    assert found is not None
    assert found.last == replace(look("a", 6, 6, cpu=7), at=DAWN + timedelta(seconds=3))
