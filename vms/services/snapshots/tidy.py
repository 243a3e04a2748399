"""Snapshots that were taken to copy from go by themselves."""

from __future__ import annotations

import structlog
from django.conf import settings

from operations.models import OperationLock
from portal.core.errors import PortalError
from tenants.actors import system_actor
from tenants.scoping import every_tenant, tenant_scope
from vms.models import Snapshot
from vms.services.snapshots.change import snapshot_delete
from vms.states import SnapshotState

log = structlog.get_logger(__name__)


def snapshots_tidy() -> int:
    """Ask for the removal of passing snapshots that nobody copies from any more, a few at a time; gives how many.

    Where the machine is being worked on, or its host is silent, one waits, and keeps no other waiting; one that could not be
    deleted says so in its list, and is asked for again by a person. Safe to repeat.
    """
    copied = OperationLock.objects.filter(resource_type="snapshot_copy").values("resource_id")
    with every_tenant(why="every tenant's passing snapshots"):
        rows = Snapshot.objects.select_related("tenant").filter(passing=True, state=SnapshotState.READY)
        due = list(rows.exclude(pk__in=copied).order_by("created_at"))
    asked = 0
    for snapshot in due:
        if asked == settings.CAPS["batch"]:
            break
        with tenant_scope(snapshot.tenant):
            try:
                snapshot_delete(snapshot, actor=system_actor(snapshot.tenant, why="copied"))
                asked += 1
            except PortalError as error:
                log.info("snapshot_waits", snapshot=str(snapshot.pk), code=error.code)
    return asked
