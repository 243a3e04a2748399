"""What a process that serves no pages does without: memory is paid once for each of them."""

import os
import subprocess
import sys

from django.conf import settings


def test_watcher_and_worker_carry_no_pages():
    look = "import sys, django; django.setup(); import vms.reconcile.watch, vms.tasks; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", look], cwd=settings.BASE_DIR, env=os.environ, capture_output=True, text=True, check=True
    )

    loaded = set(run.stdout.split())

    assert {"vms.reconcile.watch", "vms.tasks"} <= loaded
    assert not loaded & {
        "ninja",
        "requests",
        "vms.admin",
        "tenants.admin",
        "operations.admin",
        "portal.urls",
        "vms.views",
        "vms.forms",
    }
