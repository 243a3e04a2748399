"""Mail: written in the transaction of what it tells, handed to the mail server by a worker, at least once.

A worker takes a letter by moving its ``due_at`` past the time it needs, so that two never take the same one and a letter
whose worker died is due again. The attempt is counted when the letter is taken: one that kills its worker ends too.
"""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from celery import current_app
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import MaxLengthValidator, validate_email
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError

from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.models import Letter
from tenants.policy import Permission

log = structlog.get_logger(__name__)
SEND_TASK: Final = "tenants.tasks.letters_send"
MOST_ATTEMPTS: Final = 12
"""With the pauses of ``pause_after`` a mail server may be away for half a day."""
TAKEN_FOR: Final = timedelta(minutes=5)
"""How long a letter belongs to the worker that took it; well above all that a mail server's timeouts add up to."""
BATCH: Final = 50
_SENDING: Final = "letters:sending"
_SENDING_S: Final = 120
"""When a sender counts as dead. One that is only slow may get company: a letter is still taken by one alone."""


def letter_write(*, to: str, subject: str, body: str, invites: bool = False) -> Letter:
    """Write a letter in the caller's transaction; a worker is rung on commit.

    ``body`` is plain text; ``invites`` counts it among the invitations to that address.
    Raises ``Invalid`` for an address or a subject that could say more in a header than it should.
    """
    address_check(to)
    if not subject.isprintable() or not subject.strip():
        raise Invalid(errors=[FieldError("/subject", "invalid_subject", _("Use one line of text."))])
    letter = Letter.objects.create(to=to, subject=subject[:200], body=body, invites=invites)
    transaction.on_commit(ring, robust=True)
    return letter


def address_check(email: str) -> None:
    """Raise ``Invalid`` unless it is an address, and one that fits."""
    try:
        validate_email(email)
        MaxLengthValidator(254)(email)
    except ValidationError as error:
        raise Invalid(errors=[FieldError("/email", "invalid_email", error.messages[0])]) from error


def ring() -> None:
    """Ask a worker to look for letters; where the broker is away, beat asks again."""
    try:
        current_app.send_task(SEND_TASK, retry=False)
    except (OperationalError, OSError) as error:
        log.warning("letter_bell_not_rung", detail=str(error))


def letters_send(*, clock: Callable[[], datetime] = now) -> int:
    """Send what is due, one letter after another; how many have left.

    One worker at a time does it, so that a mail server that hangs holds up letters and nothing else. Who finds another at
    work may go: a letter that came meanwhile is seen by the worker's last look, or rings after it.
    """
    if not cache.add(_SENDING, "1", timeout=_SENDING_S):
        return 0
    sent, more = 0, False
    try:
        for pk in _due(clock())[:BATCH]:
            letter = _take(pk, clock())
            if letter is None:
                continue
            fault = _hand_over(letter)
            _record(letter, fault, clock())
            if fault is not None and not _is_about_letter(fault):
                break
            sent += fault is None
        else:
            more = True
    finally:
        cache.delete(_SENDING)
    if more and _due(clock()):
        ring()
    return sent


def letters_forget(*, at: datetime) -> int:
    """Let go of letters that left, or were given up, ``LETTER_RETENTION`` ago."""
    old = at - settings.LETTER_RETENTION
    ended = Letter.objects.filter(created_at__lt=old).exclude(sent_at=None, given_up_at=None)
    return ended.delete()[0]


@transaction.atomic
def letter_retry(letter: Letter, *, actor: Actor) -> Letter:
    """An operator has a given-up letter tried again; raises ``Conflict`` for one that has left or still waits."""
    actor.require(Permission.OPERATE)
    changed = Letter.objects.filter(pk=letter.pk, sent_at=None, given_up_at__isnull=False).update(
        given_up_at=None, attempts=0, due_at=now(), error=""
    )
    if not changed:
        raise Conflict(_("This letter has not been given up."), code="letter_not_given_up", hint="")
    transaction.on_commit(ring, robust=True)
    letter.refresh_from_db()
    audit_record(actor, "letter.retry", letter, to=letter.to)
    return letter


def pause_after(attempts: int) -> timedelta:
    """How long to wait after that many failed attempts: 30 s, doubled each time, at most two hours."""
    return timedelta(seconds=min(30 * 2 ** max(attempts - 1, 0), 7200))


def _due(at: datetime) -> list[UUID]:
    waiting = Letter.objects.filter(sent_at=None, given_up_at=None, due_at__lte=at).order_by("due_at", "pk")
    return list(waiting.values_list("pk", flat=True)[: BATCH + 1])


def _take(pk: UUID, at: datetime) -> Letter | None:
    """Make a due letter ours for a while; None if another worker was first, or it has been taken too often."""
    waiting = Letter.objects.filter(pk=pk, sent_at=None, given_up_at=None, due_at__lte=at)
    if waiting.filter(attempts__gte=MOST_ATTEMPTS).update(given_up_at=at, error="worker ended while sending"):
        log.error("letter_given_up", letter=str(pk), attempts=MOST_ATTEMPTS, detail="worker ended while sending")
        return None
    if not waiting.update(due_at=at + TAKEN_FOR, attempts=F("attempts") + 1):
        return None
    return Letter.objects.get(pk=pk)


def _hand_over(letter: Letter) -> Exception | None:
    """Give the letter to the mail server; what went wrong, if anything. Copies of one letter carry one Message-ID."""
    name = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or urlsplit(settings.PUBLIC_URL).hostname
    headers = {"Message-ID": f"<{letter.pk}@{name}>", "Auto-Submitted": "auto-generated"}
    try:
        EmailMessage(letter.subject, letter.body, to=[letter.to], headers=headers).send()
    except (OSError, ValueError) as error:  # smtplib's own are OSErrors; a header Python refuses is a ValueError
        return error
    return None


def _record(letter: Letter, fault: Exception | None, at: datetime) -> None:
    """Write how the attempt went. A letter that has left keeps no body: it may hold a link that opens something."""
    taken = Letter.objects.filter(pk=letter.pk, attempts=letter.attempts, sent_at=None)
    if fault is None:
        taken.update(sent_at=at, body="", error="")
        return
    detail = "".join(c if c.isprintable() else " " for c in f"{type(fault).__name__}: {fault}")[:200]
    if _is_final(fault) or letter.attempts >= MOST_ATTEMPTS:
        taken.update(given_up_at=at, error=detail)
        log.error("letter_given_up", letter=str(letter.pk), attempts=letter.attempts, detail=detail)
        return
    taken.update(due_at=at + pause_after(letter.attempts), error=detail)
    log.warning("letter_waits", letter=str(letter.pk), attempts=letter.attempts, detail=detail)


def _is_about_letter(fault: Exception) -> bool:
    """Was this one letter refused, rather than the server away or set against all of them?"""
    return isinstance(fault, (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError, ValueError))


def _is_final(fault: Exception) -> bool:
    """Would the same letter be refused for ever?"""
    if isinstance(fault, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _words in fault.recipients.values())
    if isinstance(fault, smtplib.SMTPDataError):
        return fault.smtp_code >= 500
    return isinstance(fault, ValueError)
