"""What becomes of people's accounts, written down in the installation's log: an account belongs to no tenant.

Never a password, a code or a key. The accounts library tells of most changes once they are done, so that an entry stands
in a transaction of its own, right after that of the change.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from django.core.cache import cache
from django.db import transaction
from django.db.models import Exists, OuterRef

from portal.core.clock import rfc3339
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.models import InstallationEntry
from tenants.models import FailedSignIn, User

SIGN_IN: Final = "account.sign_in"
BATCH: Final = 1000
FAILED_ONCE_S: Final = 900
"""So long the failures of one account are one entry: a flood of them must not fill the log."""


@transaction.atomic
def account_note(actor: Actor, action: str, user: User, **changes: Any) -> None:
    """Write down that ``actor`` did ``account.action`` to ``user``'s account."""
    audit_record(actor, f"account.{action}", user, person=user.email, **changes)


def has_signed_in(user: User) -> bool:
    """Does the log know of a sign-in of theirs?"""
    return InstallationEntry.objects.filter(actor=user, action=SIGN_IN).exists()


def failure_tell(email: str, *, address: str, request_id: str) -> None:
    """Keep that a sign-in as ``email`` failed, until a worker has looked whether that is anybody.

    It is the same work here whoever is meant: no answer tells by its time who has an account (P-C13). What failed again
    within ``FAILED_ONCE_S`` is not kept.
    """
    if cache.add(f"sign-in-failed:{hashlib.sha256(email.encode()).hexdigest()}", "1", timeout=FAILED_ONCE_S):
        FailedSignIn.objects.create(email=email[:254], address=address, request_id=request_id)


def failures_note() -> int:
    """Write down which of the sign-ins that failed were meant for somebody, and let go of all; how many those were.

    What was meant for nobody goes by one query, so that a flood of invented addresses keeps no entry waiting.
    """
    FailedSignIn.objects.exclude(Exists(User.objects.filter(email=OuterRef("email")))).delete()
    return sum(_failure_note(pk) for pk in FailedSignIn.objects.order_by("pk").values_list("pk", flat=True)[:BATCH])


@transaction.atomic
def _failure_note(pk: UUID) -> bool:
    """One of them: False, and no entry, for somebody who has just gone or where another worker was first."""
    row = FailedSignIn.objects.select_for_update(skip_locked=True).filter(pk=pk).first()
    if row is None:
        return False
    user = User.objects.filter(email=row.email).first()
    if user is not None:
        nobody = Actor(None, None, frozenset(), "browser", name="somebody")
        somebody = replace(nobody, address=row.address, request_id=row.request_id)
        account_note(somebody, "sign_in_failed", user, step="password", tried_at=rfc3339(row.at))
    row.delete()
    return user is not None
