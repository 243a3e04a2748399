"""What a tenant that ends has on hosts and in the catalogue: taken away by the operations that anybody would use."""

from __future__ import annotations

from typing import Any, Final

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.states import LIVE
from portal.core.clock import now
from portal.core.errors import PortalError
from tenants.actors import Actor
from tenants.journal.usage import usage_close
from tenants.models import Tenant
from tenants.services.ending import Left, takes_away
from vms.models import (
    Backup,
    BackupRepository,
    BackupSchedule,
    DiskExport,
    Guard,
    Guest,
    Host,
    Image,
    Network,
    PlacementGroup,
    SecurityGroup,
    SetAside,
    Snapshot,
    SshKey,
    Tag,
    Volume,
)
from vms.selectors.fabrics import through
from vms.selectors.networks import hosts_with
from vms.services.backups import backup_delete, backup_schedule_delete
from vms.services.disk_exports import disk_export_delete
from vms.services.guests import guest_delete, guest_edit
from vms.services.images import image_delete
from vms.services.keys import key_delete
from vms.services.networks import network_delete
from vms.services.snapshots import snapshot_delete
from vms.services.volumes import volume_delete
from vms.states import HostState

log = structlog.get_logger(__name__)
AT_ONCE: Final = 100
"""How many machines one round asks the removal of."""


@takes_away
def guests(tenant: Tenant, actor: Actor | None) -> list[Left]:
    """Every machine, those in the bin and those that are protected, too; not while its host does not answer."""
    left = []
    rows = list(Guest.objects.select_related("host", "tenant").order_by("created_at", "pk"))
    busy = _busy(rows)
    for number, guest in enumerate(rows):
        why = _silent(guest.host)
        if not why and guest.pk in busy:
            why = _("Something is being done with it.")
        if not why and actor is not None and number < AT_ONCE:
            why = _purge(guest, actor)
        left.append(Left("guest", guest.name, why or guest.problem_message))
    return left


@takes_away
def snapshots(tenant: Tenant, actor: Actor | None) -> list[Left]:
    """Those of volumes that hang on no machine; those of machines go with them. Not while their host does not answer."""
    left = []
    rows = list(Snapshot.objects.filter(guest=None, disks__volume__guest=None).order_by("created_at", "pk"))
    busy = _busy(rows)
    for number, snapshot in enumerate(rows):
        disk = snapshot.disks.select_related("volume__pool__host").get()
        why = _silent(disk.volume.pool.host if disk.volume.pool is not None else None)
        if not why and snapshot.pk in busy:
            why = _("Something is being done with it.")
        if not why and actor is not None and number < AT_ONCE:
            why = _refusal(lambda row=snapshot: snapshot_delete(row, actor=actor))
        left.append(Left("snapshot", snapshot.name, why))
    return left


@takes_away
def volumes(tenant: Tenant, actor: Actor | None) -> list[Left]:
    """Every volume that hangs on no machine any more; not while its host does not answer."""
    left = []
    rows = list(Volume.objects.filter(guest=None).select_related("pool__host").order_by("created_at", "pk"))
    busy = _busy(rows)
    for number, volume in enumerate(rows):
        why = _silent(volume.pool.host if volume.pool is not None else None)
        if not why and volume.pk in busy:
            why = _("Something is being done with it.")
        if not why and actor is not None and number < AT_ONCE:
            why = _refusal(lambda row=volume: volume_delete(row, actor=actor))
        left.append(Left("volume", volume.name, why))
    return left


@takes_away
def backups(tenant: Tenant, actor: Actor | None) -> list[Left]:
    """Every backup, out of the store; with the last of them the repository and its password."""
    left = []
    rows = list(Backup.objects.select_related("guest", "tenant").order_by("created_at", "pk"))
    busy = _busy(rows)
    for number, backup in enumerate(rows):
        why = _("Something is being done with it.") if backup.pk in busy else ""
        if not why and actor is not None and number < AT_ONCE:
            why = _refusal(lambda row=backup: backup_delete(row, actor=actor))
        left.append(Left("backup", backup.name, why))
    repositories = list(BackupRepository.objects.select_related("store")) if not rows else []
    busy = _busy(repositories)
    left += [Left("backup", row.name, _("Something is being done with it.")) for row in repositories if row.pk in busy]
    if repositories and not busy and actor is not None:
        usage_close(tenant, resource_ids=[row.pk for row in repositories], at=now())
        BackupRepository.objects.all().delete()
    return left


@takes_away
def disk_exports(tenant: Tenant, actor: Actor | None) -> list[Left]:
    """Disks that were made into files, at once; one that is still being made when that has ended."""
    left = []
    for export in DiskExport.objects.order_by("created_at", "pk"):
        why = _refusal(lambda row=export: disk_export_delete(row, actor=actor)) if actor is not None else ""
        if actor is None or why:
            left.append(Left("exported disk", export.name, why))
    return left


@takes_away
def networks(tenant: Tenant, actor: Actor | None) -> list[Left]:
    """Every network that no machine is on any more, off the hosts that have it."""
    left = []
    rows = list(Network.objects.order_by("name"))
    busy = _busy(rows)
    for network in rows:
        why = next((words for host in through(hosts_with(network)) if (words := _silent(host))), "")
        if not why and network.pk in busy:
            why = _("Something is being done with it.")
        if not why and network.ports.exists():
            why = _("Machines are connected to it.")
        if not why and actor is not None:
            why = _refusal(lambda row=network: network_delete(row, actor=actor))
        left.append(Left("network", network.name, why))
    return left


@takes_away
def security_groups(tenant: Tenant, actor: Actor | None) -> list[Left]:
    """Every group, once no card is guarded by one; no host has them then."""
    rows = list(SecurityGroup.objects.order_by("name"))
    if Guard.objects.exists():
        return [Left("group", row.name, _("Machines are guarded by it.")) for row in rows]
    busy = _busy(rows)
    if rows and not busy and actor is not None:
        SecurityGroup.objects.all().delete()
    return [Left("group", row.name, _("Something is being done with it.") if row.pk in busy else "") for row in rows]


@takes_away
def images(tenant: Tenant, actor: Actor | None) -> list[Left]:
    """Its own images, those that are just coming in, too: off every host, then their files."""
    left = []
    rows = list(Image.objects.filter(tenant=tenant).order_by("name"))
    busy = _busy(rows)
    for image in rows:
        why = _("Something is being done with it.") if image.pk in busy else ""
        if not why and actor is not None:
            why = _refusal(lambda row=image: image_delete(row, actor=actor))
        left.append(Left("image", image.name, why))
    return left


@takes_away
def stock(tenant: Tenant, actor: Actor | None) -> list[Left]:
    """Keys, tags, placement groups and backup schedules go at once; hosts that were set aside are for everybody again."""
    left = []
    for schedule in BackupSchedule.objects.all():
        why = _refusal(lambda row=schedule: backup_schedule_delete(row, actor=actor)) if actor is not None else ""
        if actor is None or why:
            left.append(Left("backup schedule", schedule.name, why))
    for key in SshKey.objects.all():
        why = _refusal(lambda row=key: key_delete(row, actor=actor)) if actor is not None else ""
        if actor is None or why:
            left.append(Left("key", key.name, why))
    if actor is not None:
        Tag.objects.filter(guests=None).delete()
        PlacementGroup.objects.filter(guests=None).delete()
        SetAside.objects.filter(tenant=tenant).delete()
    return left


def _purge(guest: Guest, actor: Actor) -> str:
    """Ask for a machine's removal, whatever protects it; why not, if so."""

    @transaction.atomic
    def ask() -> None:
        if guest.protected:
            guest_edit(guest, protected=False, actor=actor)
        guest_delete(guest, purge=True, delete_volumes=True, actor=actor)

    return _refusal(ask)


def _refusal(deed: Any) -> str:
    """Do it; the sentence of the refusal, empty where there was none."""
    try:
        deed()
    except PortalError as error:
        log.info("removal_waits", code=error.code)
        return error.sentence
    return ""


def _silent(host: Host | None) -> str:
    if host is None or host.state == HostState.UP:
        return ""
    return _("The host %s does not answer.") % host.name


def _busy(rows: list[Any]) -> set[Any]:
    """Of ``rows`` the ids of those that something is being done with; one query."""
    found = Operation.objects.filter(subject_id__in=[row.pk for row in rows], status__in=LIVE)
    return set(found.values_list("subject_id", flat=True))
