"""What is done again and again, and how often; plain data, so that beat needs no Django to send it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

SCHEDULE: Final[dict[str, dict[str, Any]]] = {
    "sweep-operations": {"task": "operations.tasks.sweep_operations", "schedule": timedelta(seconds=5)},
    "check-hosts": {"task": "vms.tasks.check_hosts", "schedule": timedelta(seconds=5)},
    "sweep-hosts": {"task": "vms.tasks.sweep_hosts", "schedule": timedelta(seconds=60)},
    "halt-guests": {"task": "vms.tasks.halt_guests", "schedule": timedelta(seconds=30)},
    "purge-tenants": {"task": "tenants.tasks.purge_tenants", "schedule": timedelta(minutes=5)},
    "empty-bins": {"task": "vms.tasks.empty_bins", "schedule": timedelta(minutes=5)},
    "keep-time": {"task": "vms.tasks.keep_time", "schedule": timedelta(seconds=20)},
    "keep-backups": {"task": "vms.tasks.keep_backups", "schedule": timedelta(seconds=20)},
    "tidy-images": {"task": "vms.tasks.tidy_images", "schedule": timedelta(minutes=10)},
    "tidy-exports": {"task": "vms.tasks.tidy_exports", "schedule": timedelta(minutes=1)},
    "sum-metrics": {"task": "vms.tasks.sum_metrics", "schedule": timedelta(minutes=5)},
    "send-letters": {"task": "tenants.tasks.letters_send", "schedule": timedelta(seconds=15)},
    "note-failed-sign-ins": {"task": "tenants.tasks.failed_sign_ins_note", "schedule": timedelta(seconds=60)},
    "end-visits": {"task": "tenants.tasks.visits_end_due", "schedule": timedelta(seconds=5)},
    "forget-old-letters": {"task": "tenants.tasks.forget_old", "schedule": timedelta(hours=1)},
    "forget-audit": {"task": "tenants.tasks.forget_audit", "schedule": timedelta(hours=6)},
    "bill-hour": {"task": "billing.tasks.bill_hour", "schedule": timedelta(minutes=1)},
    "forget-old": {"task": "operations.tasks.forget_old", "schedule": timedelta(hours=1)},
}
