"""What management commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError

from portal.core.errors import PortalError


def said(handle: Callable[..., str]) -> Callable[..., str]:
    """Turn a refusal into the one line an operator reads."""

    @functools.wraps(handle)
    def wrapped(*args: Any, **kwargs: Any) -> str:
        try:
            return handle(*args, **kwargs)
        except PortalError as error:
            faults = "; ".join(f"{fault.pointer}: {fault.message}" for fault in error.errors)
            raise CommandError(" ".join(part for part in (error.sentence, faults, error.advice) if part)) from error

    return wrapped
