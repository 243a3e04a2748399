"""The only reader of the environment: names, types, and the secrets file. No secret has a default."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environ

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Secrets:
    """What only this installation knows: Django's key, and the keys of sealed fields, newest first."""

    secret_key: str
    field_keys: tuple[str, ...]
    installation: str


def smtp(url: str) -> dict[str, Any]:
    """A mailer from ``smtp://user:password@host:port``; ``smtp+tls`` has it say STARTTLS, ``smtp+ssl`` begins with TLS."""
    parts = env.email_url_config(url)
    options = {
        "host": parts["EMAIL_HOST"],
        "port": parts["EMAIL_PORT"],
        "username": parts["EMAIL_HOST_USER"],
        "password": parts["EMAIL_HOST_PASSWORD"],
        "use_tls": parts.get("EMAIL_USE_TLS"),
        "use_ssl": parts.get("EMAIL_USE_SSL"),
        "timeout": 10,
    }
    return {"BACKEND": parts["EMAIL_BACKEND"], "OPTIONS": {name: value for name, value in options.items() if value}}


def read_secrets(path: Path) -> Secrets:
    """Read ``secrets.json``: ``{"secret_key": …, "field_keys": […], "installation": …}``.

    Raises ``OSError`` where it is missing or others may read it.
    """
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} must not be readable by others (chmod 600)")
    raw = json.loads(path.read_text())
    return Secrets(raw["secret_key"], tuple(raw["field_keys"]), raw["installation"])


def mailer(folder: Path) -> dict[str, Any]:
    """Where letters go: the server of ``EMAIL_URL`` if one is named, else one file each in ``folder``."""
    url = env("EMAIL_URL", default="")
    if url:
        return smtp(url)
    return {"BACKEND": "django.core.mail.backends.filebased.EmailBackend", "OPTIONS": {"file_path": str(folder)}}
