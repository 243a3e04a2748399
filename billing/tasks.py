"""What Celery calls for billing."""

from __future__ import annotations

import structlog
from celery import shared_task

from billing.services.hours import DatabaseIsOlder, hours_close
from billing.services.statements import statements_issue
from portal.core.clock import now

log = structlog.get_logger(__name__)


@shared_task(name="billing.tasks.bill_hour", time_limit=3600)
def bill_hour() -> None:
    """Close every hour that is over, and bill months that are final; a doubled, late or forged message does nothing else."""
    try:
        hours = hours_close(at=now())
        statements = statements_issue()
    except DatabaseIsOlder as error:
        log.error("usage_not_closed", code=error.code)
        return
    if hours or statements:
        log.info("usage_closed", hours=hours, statements=statements)
