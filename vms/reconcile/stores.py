"""Backup stores beside what the rows say of them: a part of the oracle."""

from __future__ import annotations

from collections.abc import Iterator

from operations.models import Operation
from operations.states import LIVE
from portal.core.units import GIB
from tenants.journal.models import UsageInterval
from vms.backups import restic
from vms.backups.restic import Place, StoreFailed
from vms.models import Backup, BackupRepository
from vms.models.backups import StoreKind
from vms.states import BackupState


def repository_place(repository: BackupRepository) -> Place:
    """Where a tenant's repository is, and what opens it."""
    store = repository.store
    if store.kind == StoreKind.FOLDER:
        return Place(f"{store.location}/{repository.pk.hex}", repository.password)
    keys = {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key}
    return Place(f"s3:{store.location.rstrip('/')}/{repository.pk.hex}", repository.password, keys)


def stores_differ() -> Iterator[str]:
    """I2, I3, I5: what is ready is in the store, nothing else is; quota and ledger count what each repository takes.

    A repository that something is being done with is left out.
    """
    live = Operation.objects.filter(kind__startswith="backup.", status__in=LIVE)
    busy = set(live.values_list("tenant", flat=True))
    for repository in BackupRepository.objects.select_related("store", "tenant").order_by("pk"):
        if repository.tenant_id in busy:
            continue
        if repository.made_at is not None:
            yield from _contents(repository)
        gib = -(-repository.size // GIB)
        if gib != repository.charged_gib:
            yield f"I3 backups of {repository.tenant.slug} take {gib} GiB, and {repository.charged_gib} are charged"
        newest = (
            UsageInterval.objects.filter(resource_id=repository.pk, meter="backup_gib").order_by("started_at").last()
        )
        counted = newest.quantity if newest is not None and newest.ended_at is None else 0
        if counted != repository.charged_gib:
            yield f"I5 backups of {repository.tenant.slug} are counted as {counted} GiB, not {repository.charged_gib}"


def _contents(repository: BackupRepository) -> Iterator[str]:
    whose = f"the backups of {repository.tenant.slug} in {repository.store.name}"
    try:
        there = restic.snapshots(repository_place(repository))
    except StoreFailed as error:
        yield f"I2 {whose} cannot be looked at: {error.detail}"
        return
    rows = Backup.objects.filter(repository=repository, state=BackupState.READY)
    named = dict(rows.values_list("snapshot", "name"))
    for snapshot, name in named.items():
        if not any(each.startswith(snapshot) for each in there):
            yield f"I2 {whose} lack {name}"
    for each in there:
        if not each.startswith(tuple(named)):
            yield f"I2 {whose} hold {each[:8]}, which no row names"
