"""The portal's clock; services take ``now`` from here, tests freeze it."""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils import timezone


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return timezone.now()


def rfc3339(moment: datetime | None) -> str | None:
    """``2026-11-22T10:54:31.123456Z``; None stays None."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
