"""What records must say, worked out a second time without a line of the product: whole seconds of the epoch, and plain lists."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

UNITS = {"vcpus": "vCPU-second", "memory_mib": "MiB-second", "disk_gib": "GiB-second"}
SPACE = bytes.fromhex("6f3c2f5e8a345d0c9a3e0d5b7c1e4a11")


@dataclass
class Life:
    """One meter of one thing: pieces of begin, end (None: still), quantity and flavor, by what was heard of it in turn."""

    tenant: str
    thing: str
    meter: str
    pieces: list[list] = field(default_factory=list)  # type: ignore[type-arg]

    def hear(self, second: float, quantity: int, flavor: str) -> None:
        """From then on so much; what is said twice counts once, and time never goes back."""
        second = int(second // 1)
        if self.pieces:
            begin, end, had, was = self.pieces[-1]
            if end is None and (had, was) == (quantity, flavor):
                return
            second = max(second, begin if end is None else end)
            if end is None:
                self.pieces[-1][1] = second
        if quantity > 0:
            self.pieces.append([second, None, quantity, flavor])

    def lines(self, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Every first revision from ``begin`` to ``end``, with the second it begins at."""
        for hour in range(begin - begin % 3600, end, 3600):
            for first, last, quantity, flavor in self.pieces:
                since = max(first, hour, begin)
                until = min(end if last is None else last, hour + 3600, end)
                if since < until:
                    yield since, self._line(since, until, quantity * (until - since), flavor)

    def seconds(self, begin: int, end: int) -> int:
        """How long it was in use."""
        alive = set()
        for first, last, _quantity, _flavor in self.pieces:
            alive |= {(max(first, begin), min(end if last is None else last, end))}
        return sum(max(0, until - since) for since, until in alive)

    def _line(self, since: int, until: int, amount: int, flavor: str) -> bytes:
        name = f"{self.thing}/{self.meter}/{moment(since)}/1"
        words = [
            ("id", version_5(name)), ("tenant", self.tenant), ("resource_type", "guest"), ("resource_id", self.thing),
            ("meter", self.meter), ("window_start", moment(since)), ("window_end", moment(until)),
            ("quantity", f"{amount}"), ("unit", UNITS[self.meter]), ("attributes", {"flavor": flavor}), ("revision", 1),
            ("supersedes", None), ("correction", False),
        ]  # fmt: skip
        return b"{" + b",".join(f"{json.dumps(k)}:{_json(v)}".encode() for k, v in words) + b"}\n"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def version_5(name: str) -> str:
    """A UUID of a name in ``SPACE``, by RFC 9562."""
    raw = bytearray(hashlib.sha1(SPACE + name.encode(), usedforsecurity=False).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x50
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def moment(second: int) -> str:
    """A second of the epoch in UTC, by the civil calendar (days from an era's March, as Hinnant does)."""
    days, rest = divmod(second, 86400)
    days += 719468
    era, day_of_era = divmod(days, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (month <= 2)
    return f"{year:04}-{month:02}-{day:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"
