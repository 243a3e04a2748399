"""The only reader of the environment: names, types, and the secrets file. No secret has a default."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import environ

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Secrets:
    """What only this installation knows: Django's key, and the keys of sealed fields, newest first."""

    secret_key: str
    field_keys: tuple[str, ...]
    installation: str


def read_secrets(path: Path) -> Secrets:
    """Read ``secrets.json``: ``{"secret_key": …, "field_keys": […], "installation": …}``.

    Raises ``OSError`` where it is missing or others may read it.
    """
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} must not be readable by others (chmod 600)")
    raw = json.loads(path.read_text())
    return Secrets(raw["secret_key"], tuple(raw["field_keys"]), raw["installation"])
