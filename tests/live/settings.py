"""The suite's settings for processes of the stage: leases lapse and dead lines are noticed sooner, so that tests wait less."""

from __future__ import annotations

from portal.settings.test import *  # noqa: F403

OPERATION_LEASE_S = 3
OPERATION_RETRY_MAX_S = 3
CELERY_BROKER_TRANSPORT_OPTIONS = {**CELERY_BROKER_TRANSPORT_OPTIONS, "health_check_interval": 3}  # noqa: F405
