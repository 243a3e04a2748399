"""How far hours were closed, kept outside the database: one that was restored from a copy knows less than this file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings

from billing.metering import text_of


@dataclass(frozen=True, slots=True)
class Anchor:
    """Up to when hours were closed, and the digest of the last of them."""

    until: datetime
    digest: str


def anchor_path() -> Path:
    """Beside images and uploads, which no copy of the database holds."""
    return Path(settings.DATA_DIR) / "usage-closed.json"


def anchor_read() -> Anchor | None:
    """What was kept; None where nothing was, or what is there cannot be read as that."""
    try:
        said = json.loads(anchor_path().read_text())
        return Anchor(datetime.fromisoformat(said["until"]), str(said["digest"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def anchor_write(anchor: Anchor) -> None:
    """Keep it: whole or not at all, whoever dies meanwhile."""
    path = anchor_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps({"until": text_of(anchor.until), "digest": anchor.digest}))
    os.replace(fresh, path)
