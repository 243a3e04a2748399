"""The Celery app: one queue, prefork, tasks that carry ids only."""

from __future__ import annotations

import gc
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_before_create_process

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings.embedded")

app = Celery("guesthouse")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["tenants", "operations", "vms"])


@setup_logging.connect
def _keep_our_logs(**kwargs: Any) -> None:
    """Celery leaves logging as settings made it."""


@worker_before_create_process.connect
def _share_memory(**kwargs: Any) -> None:
    """What the parent has loaded stays shared with its children: a collection in a child would copy every page."""
    gc.collect()
    gc.freeze()
