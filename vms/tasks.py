"""What beat asks for, and the import that gives workers their handlers."""

from __future__ import annotations

from threading import Event, Thread
from typing import Any
from uuid import UUID

import redis
import structlog
from celery import shared_task
from celery.signals import worker_ready, worker_shutdown
from django.conf import settings

import vms.handlers  # noqa: F401  (registers the handlers)
from portal.core.clock import now
from portal.core.errors import PortalError
from tenants.actors import system_actor
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.tenants import tenants_down
from vms.hypervisor import errors, libvirt_driver  # noqa: F401  (loaded before the fork, shared by the children)
from vms.models import Guest, Host
from vms.reconcile.sweep import sweep
from vms.selectors.guests import guests_unremoved
from vms.services.backups.slots import backup_schedules_run
from vms.services.disk_exports import disk_exports_tidy
from vms.services.guests import guest_delete, guests_mark_unknown
from vms.services.guests.lease import leases_end
from vms.services.guests.recovering import guests_recover
from vms.services.guests.returning import guests_return
from vms.services.guests.stopping import guests_stop
from vms.services.halting import HALT_TASK, guests_halt
from vms.services.hosts import hosts_check
from vms.services.image_copies import copies_tidy
from vms.services.image_tests import image_tests_tidy
from vms.services.image_uploads import files_tidy, uploads_tidy
from vms.services.liveness import WORKER_KEY
from vms.services.metrics import metrics_forget, metrics_roll_up
from vms.services.power_schedules import schedules_run
from vms.services.snapshots.tidy import snapshots_tidy
from vms.states import HostState

log = structlog.get_logger(__name__)
_stopping = Event()


@worker_ready.connect
def _say_alive(**kwargs: Any) -> None:
    """The worker's parent process says every few seconds that it is there."""
    Thread(target=_keep_saying, name="worker-alive", daemon=True).start()


@worker_shutdown.connect
def _stop_saying(**kwargs: Any) -> None:
    _stopping.set()


def _keep_saying() -> None:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2)
    while True:
        try:
            client.set(WORKER_KEY, "1", ex=15)
        except redis.RedisError as error:
            log.warning("worker_cannot_say_alive", detail=str(error))
        if _stopping.wait(4):
            return


@shared_task(name="vms.tasks.check_hosts", time_limit=60)
def check_hosts() -> None:
    """Late hosts become suspect, then down; of a down host's guests nothing is known.

    What one that is back lost is started, and what was to be stopped there meanwhile is; so is started what crashed.
    """
    for host in hosts_check():
        unknown = guests_mark_unknown(host)
        log.warning("host_down", host=host.name, guests=unknown)
    if started := guests_return(at=now()):
        log.info("guests_return", guests=started)
    if recovered := guests_recover(at=now()):
        log.info("guests_recover", guests=recovered)
    if stopped := guests_stop():
        log.info("guests_stop", guests=stopped)


@shared_task(name="vms.tasks.sweep_hosts", time_limit=60)
def sweep_hosts() -> None:
    """Ask for a complete look at every host that answers; one task a host, so that a slow one delays only its own."""
    for pk in Host.objects.filter(state=HostState.UP).values_list("pk", flat=True):
        sweep_host.delay(str(pk))


@shared_task(name="vms.tasks.sweep_host", time_limit=120)
def sweep_host(host_id: str) -> None:
    """Compare one host with the database; finds are shown, nothing is deleted. A forged message looks at nothing."""
    try:
        host = Host.objects.select_related("pool").filter(pk=UUID(str(host_id))).first()
    except ValueError:
        log.warning("sweep_without_host")
        return
    if host is None:
        return
    try:
        with every_tenant(why="a host carries guests of many tenants"):
            found = sweep(host)
    except errors.HypervisorError as error:
        log.warning("sweep_failed", host=host.name, code=error.code, detail=error.detail)
        return
    log.info("host_swept", host=host.name, **found)


@shared_task(name=HALT_TASK, time_limit=300)
def halt_guests() -> None:
    """Stop what still runs in tenants that are suspended or being closed."""
    guests_halt()


@shared_task(name="vms.tasks.tidy_images", time_limit=300)
def tidy_images() -> None:
    """Give up uploads that nobody goes on with, remove what deaths left of them, and have unused copies taken off hosts."""
    with every_tenant(why="every tenant's uploads, and the hosts' copies of images"):
        given_up, files, evicted = uploads_tidy(at=now()), files_tidy(), copies_tidy(at=now())
        tests = image_tests_tidy()
    if given_up or files or evicted or tests:
        log.info("images_tidied", uploads=given_up, files=files, copies=evicted, tests=tests)


@shared_task(name="vms.tasks.tidy_exports", time_limit=300)
def tidy_exports() -> None:
    """Let go of exported disks whose time is over, and of what deaths left of others."""
    with every_tenant(why="every tenant's exported disks"):
        done = disk_exports_tidy(at=now())
    if any(done.values()):
        log.info("exports_tidied", **done)


@shared_task(name="vms.tasks.empty_bins", time_limit=300)
def empty_bins() -> None:
    """Ask for the purge of what has been in the bin for its whole grace period, and of failed builds; a few at a time.

    What cannot be purged now (protected, or its host is silent) waits, and takes no other's place.
    In a tenant that is suspended nobody could restore anything meanwhile: its bin waits as long.
    """
    with every_tenant(why="every tenant's bin is emptied"):
        due = list(
            Guest.objects.select_related("tenant")
            .filter(purge_after__lte=now(), protected=False, host__state=HostState.UP)
            .exclude(tenant__in=tenants_down())
            .order_by("purge_after")[: settings.CAPS["batch"]]
        )
        due += guests_unremoved(at=now())[: settings.CAPS["batch"]]
    for guest in due:
        with tenant_scope(guest.tenant):
            try:
                guest_delete(guest, actor=system_actor(guest.tenant, why="bin"), purge=True)
            except PortalError as error:
                log.info("purge_waits", guest=str(guest.pk), code=error.code)


@shared_task(name="vms.tasks.keep_time", time_limit=300)
def keep_time() -> None:
    """Switch the machines whose schedule is due, end the leases that have run out, drop the snapshots that only passed."""
    at = now()
    switched, ended, dropped = schedules_run(at=at), leases_end(at=at), snapshots_tidy()
    if switched or ended or dropped:
        log.info("time_kept", switched=switched, ended=ended, snapshots=dropped)


@shared_task(name="vms.tasks.keep_backups", time_limit=300)
def keep_backups() -> None:
    """Open the moments of backup schedules that have come, begin what is due, and let go of what is no longer kept."""
    done = backup_schedules_run(at=now())
    if any(done.values()):
        log.info("backups_kept", **done)


@shared_task(name="vms.tasks.sum_metrics", time_limit=300)
def sum_metrics() -> None:
    """Sum up what machines used, then let go of what is too old."""
    metrics_roll_up()
    metrics_forget()
