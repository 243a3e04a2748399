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


def read_secrets(path: Path) -> Secrets:
    """Read ``secrets.json``: ``{"secret_key": …, "field_keys": […], "installation": …}``.

    Raises ``OSError`` where it is missing or others may read it.
    """
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} must not be readable by others (chmod 600)")
    raw = json.loads(path.read_text())
    return Secrets(raw["secret_key"], tuple(raw["field_keys"]), raw["installation"])


def mailer(folder: Path) -> dict[str, Any]:
    """Where letters go: the server of ``EMAIL_HOST`` if one is named, else one file each in ``folder``.

    ``EMAIL_TLS`` is ``starttls`` (the default), ``tls`` or ``none``; ``EMAIL_PORT`` defaults to its usual port.
    """
    host = env("EMAIL_HOST", default="")
    if not host:
        return {"BACKEND": "django.core.mail.backends.filebased.EmailBackend", "OPTIONS": {"file_path": str(folder)}}
    tls = env("EMAIL_TLS", default="starttls")
    if tls not in ("starttls", "tls", "none"):
        raise RuntimeError("EMAIL_TLS must be starttls, tls or none")
    options = {
        "host": host,
        "port": env.int("EMAIL_PORT", default=None),
        "username": env("EMAIL_USER", default=""),
        "password": env("EMAIL_PASSWORD", default=""),
        "use_tls": tls == "starttls",
        "use_ssl": tls == "tls",
        "timeout": 10,
    }
    return {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": options}
