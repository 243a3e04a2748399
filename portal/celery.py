"""The Celery app: one queue, prefork, tasks that carry ids only."""

from __future__ import annotations

import gc
import os
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from celery.signals import setup_logging, worker_before_create_process

from portal.broker import PatientConnection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings.embedded")


class Amqp(AMQP):
    """Celery's, with connections of ours."""

    Connection = PatientConnection


app = Celery("guesthouse", amqp=Amqp)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["tenants", "operations", "vms", "billing"])


@setup_logging.connect
def _keep_our_logs(**kwargs: Any) -> None:
    """Celery leaves logging as settings made it."""


@worker_before_create_process.connect
def _share_memory(**kwargs: Any) -> None:
    """What the parent has loaded stays shared with its children: a collection in a child would copy every page.

    So it also does here what each child would begin with: billiard has a C parser read the declaration of ``prctl``, and
    Django's first query relates all models.
    """
    import cffi  # type: ignore[import-untyped]  # billiard's

    from operations.models import Operation

    cffi.FFI().cdef("int prctl (int __option, ...);")
    str(Operation.objects.filter(parent__tenant=None).query)
    gc.collect()
    gc.freeze()
