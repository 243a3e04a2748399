"""From the usage ledger to what an hour is billed by. Pure: the same intervals give the same bytes, whenever it is asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final
from uuid import UUID, uuid5

HOUR: Final = timedelta(hours=1)
LAG: Final = 6
"""So many hours after the hour it is about is closed, a record is final. Stated to whoever reads them."""
_NAMES: Final = UUID("6f3c2f5e-8a34-5d0c-9a3e-0d5b7c1e4a11")
"""Where the ids of records are named; any other would do, if it never changed."""
_UNITS: Final = {"vcpus": "vCPU-second", "memory_mib": "MiB-second"}

type Key = tuple[UUID, str, datetime]
"""A resource, a meter, the beginning of a window: what revisions of one record have in common."""


@dataclass(frozen=True, slots=True)
class Span:
    """An interval of the ledger: so much of a meter from ``started`` to ``ended`` (None: still)."""

    tenant: UUID
    resource_type: str
    resource: UUID
    meter: str
    quantity: int
    attributes: Mapping[str, Any]
    started: datetime
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class Window:
    """What a piece of an interval comes to: ``amount`` unit-seconds in [``start``, ``end``)."""

    tenant: UUID
    resource_type: str
    resource: UUID
    meter: str
    start: datetime
    end: datetime
    amount: int
    attributes: Mapping[str, Any]

    @property
    def key(self) -> Key:
        """Which record it is a revision of."""
        return self.resource, self.meter, self.start

    def withdrawn(self) -> Window:
        """The same once it turns out that there was nothing: it covers no time and counts nothing."""
        return Window(
            self.tenant, self.resource_type, self.resource, self.meter, self.start, self.start, 0, self.attributes
        )


def windows(spans: Iterable[Span], since: datetime, until: datetime) -> Iterator[Window]:
    """What of ``spans`` lies in [``since``, ``until``), cut at every full hour; in the order of the spans.

    Moments are whole seconds in UTC, so amounts are whole and hours have no summer.
    """
    for span in spans:
        start = max(span.started, since)
        end = until if span.ended is None else min(span.ended, until)
        while start < end:
            stop = min(hour_of(start) + HOUR, end)
            seconds = (stop - start) // timedelta(seconds=1)
            yield Window(
                span.tenant, span.resource_type, span.resource, span.meter,
                start, stop, span.quantity * seconds, span.attributes,
            )  # fmt: skip
            start = stop


def hour_of(moment: datetime) -> datetime:
    """The full hour that ``moment`` is in."""
    return moment.replace(minute=0, second=0, microsecond=0)


def unit_of(meter: str) -> str:
    """What a record's quantity counts."""
    return _UNITS.get(meter, "GiB-second" if meter.endswith("_gib") else f"{meter}-second")


def record_id(key: Key, revision: int) -> UUID:
    """The id of a record: the same for the same resource, meter, beginning and revision, wherever it is made."""
    resource, meter, start = key
    return uuid5(_NAMES, f"{resource}/{meter}/{text_of(start)}/{revision}")


def text_of(moment: datetime) -> str:
    """``2026-03-29T01:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def line_of(window: Window, *, revision: int, correction: bool) -> bytes:
    """A record as digests read it: everything that never changes, in one order, as one line of JSON."""
    said = {
        "id": str(record_id(window.key, revision)),
        "tenant": str(window.tenant),
        "resource_type": window.resource_type,
        "resource_id": str(window.resource),
        "meter": window.meter,
        "window_start": text_of(window.start),
        "window_end": text_of(window.end),
        "quantity": str(window.amount),
        "unit": unit_of(window.meter),
        "attributes": dict(sorted(window.attributes.items())),
        "revision": revision,
        "supersedes": str(record_id(window.key, revision - 1)) if revision > 1 else None,
        "correction": correction,
    }
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest revision of a record, as it was written."""

    window: Window
    revision: int


def revisions(standing: Iterable[Standing], derived: Iterable[Window]) -> Iterator[Standing]:
    """What must be written for records to say what the ledger says: a revision for each that is new, different or void.

    Both sides are about the same stretch of time. Nothing where they agree. In the order of keys, so that runs agree, too.
    """
    known = {each.window.key: each for each in standing}
    real = {window.key: window for window in derived}
    for key in sorted(known.keys() | real.keys()):
        before, now = known.get(key), real.get(key)
        if before is None:
            assert now is not None
            yield Standing(now, 1)
        elif now is None:
            if before.window.amount or before.window.end != before.window.start:
                yield Standing(before.window.withdrawn(), before.revision + 1)
        elif before.window != now:
            yield Standing(now, before.revision + 1)


def beside[Derived: (Span, Window)](
    standing: Iterable[Standing], derived: Iterable[Derived]
) -> Iterator[tuple[UUID, list[Standing], list[Derived]]]:
    """What is written and what the ledger says, resource by resource; both come in the order of resources."""
    left = groupby(standing, key=lambda each: each.window.resource)
    right = groupby(derived, key=lambda each: each.resource)
    old, new = next(left, None), next(right, None)
    while old is not None or new is not None:
        pk = min(side[0] for side in (old, new) if side is not None)
        here: list[Standing] = []
        there: list[Derived] = []
        if old is not None and old[0] == pk:
            here, old = list(old[1]), next(left, None)
        if new is not None and new[0] == pk:
            there, new = list(new[1]), next(right, None)
        yield pk, here, there
