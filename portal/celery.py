"""The Celery app: one queue, prefork, tasks that carry ids only."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings.embedded")

app = Celery("guesthouse")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["operations", "vms"])


@setup_logging.connect
def _keep_our_logs(**kwargs: Any) -> None:
    """Celery leaves logging as settings made it."""
