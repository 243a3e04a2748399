"""Storage pools on their hosts: made known to libvirt, and forgotten again."""

from __future__ import annotations

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Conflict
from vms.berths import pool_spec
from vms.handlers.place import connect, host_words
from vms.models import StoragePool, Volume
from vms.pool_kinds import is_home
from vms.services.hosts import host_record_pool
from vms.services.pools import pool_record_ready


@handles("pool.prepare")
def prepare(run: Run) -> None:
    """Defined, started, measured."""
    pool = StoragePool.objects.select_related("host").filter(pk=run.operation.subject_id).first()
    if pool is None:
        raise Conflict(_("The pool is gone."), code="gone", hint="")
    with host_words(pool.host):
        hv = connect(pool.host)
        run.say(_("Preparing its storage"), 30)
        with run.effect("pool"):
            seen = (
                hv.ensure_pool(pool.name, pool.path) if is_home(pool, pool.host) else hv.ensure_pool_as(pool_spec(pool))
            )
        host_record_pool(pool, capacity=seen.capacity, allocation=seen.allocation, available=seen.available)
        pool_record_ready(pool)


@handles("pool.forget")
def forget(run: Run) -> None:
    """Known to libvirt no more; refuses once a volume lies there."""
    pool = StoragePool.objects.select_related("host").filter(pk=run.operation.subject_id).first()
    if pool is None:
        return
    if Volume.objects.filter(pool=pool).exists():
        raise Conflict(_("Volumes lie in this pool."), code="pool_in_use", hint="")
    with host_words(pool.host):
        hv = connect(pool.host)
        with run.effect("forget_pool"):
            hv.remove_pool(pool.name)
