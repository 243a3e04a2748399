"""What becomes of people's accounts, written down in the installation's log: an account belongs to no tenant.

Never a password, a code or a key. The accounts library tells of most changes once they are done, so that an entry stands
in a transaction of its own, right after that of the change.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import structlog
from celery import current_app
from django.core.cache import cache
from django.db import transaction
from kombu.exceptions import OperationalError

from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.models import InstallationEntry
from tenants.models import User

log = structlog.get_logger(__name__)
FAILED_TASK: Final = "tenants.tasks.sign_in_failed"
SIGN_IN: Final = "account.sign_in"
FAILED: Final = "account.sign_in_failed"
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
    """Have a worker write down that a sign-in as ``email`` failed, if that is anybody.

    It is the same work here whoever is meant: no answer tells by its time who has an account (P-C13). Where the broker is
    away nothing is written but the portal's own log.
    """
    if not cache.add(f"sign-in-failed:{hashlib.sha256(email.encode()).hexdigest()}", "1", timeout=FAILED_ONCE_S):
        return
    try:
        current_app.send_task(FAILED_TASK, args=(email, address, request_id), retry=False)
    except (OperationalError, OSError) as error:
        log.warning("sign_in_failure_not_told", detail=str(error))


def failure_note(email: str, *, address: str, request_id: str) -> bool:
    """Write down that somebody at ``address`` failed to sign in as ``email``; False, and no row, for nobody of ours."""
    user = User.objects.filter(email=email).first()
    if user is None:
        return False
    somebody = Actor(None, None, frozenset(), "browser", address=address, request_id=request_id, name="somebody")
    account_note(somebody, FAILED.removeprefix("account."), user, step="password")
    return True
