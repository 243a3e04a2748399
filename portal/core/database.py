"""Which troubles of a database pass by themselves."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

READ_ONLY = "25006"


def will_pass(error: BaseException) -> bool:
    """Is the database away, read-only, or did it break off one of two transactions that waited for each other?

    The same again may succeed later, whether or not what was asked last has taken effect.
    """
    return isinstance(error, OperationalError | InterfaceError) or getattr(error.__cause__, "sqlstate", "") == READ_ONLY
