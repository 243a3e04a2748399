"""The catalogue of well-known cloud images: a file of ours that says where their makers offer them. Reads that file alone."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from vms.specs import ImageSpec

FILE: Final = Path(__file__).with_name("images.toml")
KEY_MOST: Final = 40
_NAMES: Final = {"family": "os_family", "version": "os_version"}
_OURS: Final = frozenset({"key", "url", "sums", "page", "pinned"})
_SAID: Final = frozenset(field.name for field in fields(ImageSpec)) - set(_NAMES.values()) | _NAMES.keys()


class BadCatalogue(ValueError):
    """The file says something that is not understood; the message names the entry and the word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image of the catalogue: ``url`` and ``sums`` where the portal fetches it, or ``page`` where people do."""

    key: str
    spec: ImageSpec
    url: str = ""
    sums: str = ""
    page: str = ""
    pinned: bool = False

    @property
    def file_name(self) -> str:
        """What the file with checksums calls it."""
        return urlsplit(self.url).path.rpartition("/")[2]

    @property
    def maker(self) -> str:
        """The host that it comes from."""
        return urlsplit(self.url or self.page).hostname or ""


def read_catalogue(text: str) -> dict[str, Entry]:
    """The entries by key, in the file's order. Raises ``BadCatalogue`` for anything that is not understood."""
    try:
        rows = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadCatalogue(str(error)) from error
    if set(rows) != {"image"}:
        raise BadCatalogue("one list [[image]] is all that belongs here")
    entries: dict[str, Entry] = {}
    for row in rows["image"]:
        entry = _entry(row)
        if entry.key in entries:
            raise BadCatalogue(f"{entry.key}: twice")
        entries[entry.key] = entry
    return entries


@cache
def catalogue() -> dict[str, Entry]:
    """The entries of our file."""
    return read_catalogue(FILE.read_text(encoding="utf-8"))


def _entry(row: dict[str, Any]) -> Entry:
    key = row.get("key")
    if not isinstance(key, str) or not 0 < len(key) <= KEY_MOST:
        raise BadCatalogue(f"{key!r}: a key of at most {KEY_MOST} characters is needed")
    if unknown := set(row) - _OURS - _SAID:
        raise BadCatalogue(f"{key}: unknown words {sorted(unknown)}")
    words = {_NAMES.get(name, name): value for name, value in row.items() if name in _SAID}
    places = {name: row.get(name, "") for name in ("url", "sums", "page")}
    for name, place in places.items():
        if not isinstance(place, str) or (place and urlsplit(place).scheme != "https"):
            raise BadCatalogue(f"{key}: {name} is no https address")
    if bool(places["url"]) != bool(places["sums"]) or bool(places["url"]) == bool(places["page"]):
        raise BadCatalogue(f"{key}: url and sums, or page")
    for field in fields(ImageSpec):
        kind = {"str": str, "bool": bool, "int": int}[str(field.type)]
        if field.name in words and type(words[field.name]) is not kind:
            raise BadCatalogue(f"{key}: {field.name} is no {field.type}")
    if "name" not in words:
        raise BadCatalogue(f"{key}: a name is needed")
    return Entry(key=key, spec=ImageSpec(**words), pinned=row.get("pinned", False) is True, **places)
