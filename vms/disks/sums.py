"""Files of checksums as makers of images write them: the line of one file, picked out of them."""

from __future__ import annotations

import re
from typing import Final

from vms.disks.errors import FetchFailed

MOST_BYTES: Final = 1024**2
_DIGEST: Final = r"(?P<digest>[0-9a-fA-F]{128}|[0-9a-fA-F]{64})"
_GNU: Final = re.compile(_DIGEST + r" [ *](?P<name>\S+)")
_BSD: Final = re.compile(r"SHA(?:256|512) \((?P<name>[^()\s]+)\) = " + _DIGEST)
_BARE: Final = re.compile(_DIGEST)


def pick_sum(text: str, name: str) -> str:
    """The SHA-256 or SHA-512, in lower-case hexadecimal, that ``text`` states of the file ``name``.

    Takes lines of ``sha256sum`` and of BSD's tools, signatures and remarks around them, and a file that holds one bare checksum.
    Raises ``FetchFailed`` where it states none, or several that differ.
    """
    lines = [line.strip() for line in text.splitlines()]
    found = {
        match["digest"].lower()
        for line in lines
        if (match := _GNU.fullmatch(line) or _BSD.fullmatch(line)) and match["name"].removeprefix("./") == name
    }
    if not found and len(said := [line for line in lines if line]) == 1 and (bare := _BARE.fullmatch(said[0])):
        found = {bare["digest"].lower()}
    if not found:
        raise FetchFailed("The file of checksums does not know this image.", code="checksum_unknown", detail=name)
    if len(found) > 1:
        raise FetchFailed("The file of checksums states several of this image.", code="checksum_unknown", detail=name)
    return found.pop()
