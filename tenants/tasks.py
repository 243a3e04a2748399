"""What Celery calls for people and tenants."""

from __future__ import annotations

from celery import shared_task

from portal.core.clock import now
from tenants.journal.retention import audit_forget_old
from tenants.services import account_log, invitations, letters, notices, people, visits
from tenants.services.ending import tenants_purge


@shared_task(name=letters.SEND_TASK, time_limit=600)
def letters_send() -> None:
    """Hand what is due to the mail server; a doubled or late message changes nothing."""
    letters.letters_send()


@shared_task(name="tenants.tasks.failed_sign_ins_note", time_limit=60)
def failed_sign_ins_note() -> None:
    """Write down which sign-ins failed that were meant for somebody."""
    account_log.failures_note()


@shared_task(name="tenants.tasks.visits_end_due", time_limit=60)
def visits_end_due() -> None:
    """End operators' visits whose time is over."""
    visits.visits_end_due()


@shared_task(name="tenants.tasks.forget_old", time_limit=300)
def forget_old() -> None:
    """Let go of what is past its retention: letters, notices, invitations and sign-ins."""
    letters.letters_forget(at=now())
    notices.notices_forget(at=now())
    invitations.invitations_forget(at=now())
    people.sign_ins_forget(at=now())


@shared_task(name="tenants.tasks.purge_tenants", time_limit=1800)
def purge_tenants() -> None:
    """Take away what tenants have whose grace is over."""
    tenants_purge()


@shared_task(name="tenants.tasks.forget_audit", time_limit=3600)
def forget_audit() -> None:
    """Let go of what is past its retention: audit logs."""
    audit_forget_old()
