"""Storage pools of hosts: taken in, offered for new volumes or not, given up when nothing lies in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.ledger import installation_journal_lock
from tenants.policy import Permission
from vms.models import Host, StorageClass, StoragePool, Volume
from vms.models.volumes import PoolKind
from vms.pool_kinds import ABILITIES, is_home
from vms.selectors.installation import installation_owner

WORD: Final = re.compile(r"\A[a-z0-9][a-z0-9-]{0,30}\Z")
PATH: Final = re.compile(r"\A(/[A-Za-z0-9._-]+)+\Z")
SERVER: Final = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9.:-]{0,252}\Z")
SOURCE: Final = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWish:
    """A pool to be taken in. ``path``: of a directory, or where an export is mounted.

    ``source``: what an NFS server exports, a volume group, a Ceph pool; ``servers``: NFS's one, Ceph's monitors; ``account`` and
    ``secret`` (the uuid of the secret that libvirt keeps on the host): Ceph's.
    """

    word: str
    kind: str
    storage_class: StorageClass
    path: str = ""
    source: str = ""
    servers: tuple[str, ...] = ()
    account: str = ""
    secret: str = ""


@transaction.atomic
def pool_add(host: Host, wish: PoolWish, *, actor: Actor) -> tuple[StoragePool, Operation]:
    """Take a pool in and have a worker prepare it; volumes are put there once it is ready.

    Pools of a kind that hosts share are the same storage where they have the same word: volumes there go to machines on any of
    those hosts. Raises ``Invalid`` with every field that is wrong.
    """
    actor.require(Permission.OPERATE)
    host = Host.objects.select_for_update(of=("self",)).get(pk=host.pk)
    installation_journal_lock()  # what hosts share is compared with other hosts' rows: two that are added at once take turns
    name = f"gh-{installation_owner().short}-{wish.word}"
    errors = _errors(wish, host) or _clashes(wish, host, name)
    if errors:
        raise Invalid(errors=errors)
    pool = StoragePool.objects.create(
        host=host,
        name=name,
        kind=wish.kind,
        share=wish.word if ABILITIES[wish.kind].shared else "",
        storage_class=wish.storage_class,
        path=f"/dev/{wish.source}" if wish.kind == PoolKind.LVM else wish.path,
        source=wish.source,
        servers=list(wish.servers),
        account=wish.account,
        secret=wish.secret,
    )
    audit_record(actor, "storage_pool.add", pool, host=host.name, kind=wish.kind, storage_class=wish.storage_class.name)
    return pool, _ask(pool, "pool.prepare", actor=actor)


def _errors(wish: PoolWish, host: Host) -> list[FieldError]:
    if wish.kind not in ABILITIES:
        return [FieldError("/kind", "invalid_kind", _("Choose dir, shared, nfs, lvm or rbd."))]
    plain = _("Plain characters are needed.")
    checks = {
        "word": bool(WORD.match(wish.word)),
        "path": wish.kind in (PoolKind.LVM, PoolKind.RBD) or (bool(PATH.match(wish.path)) and "/." not in wish.path),
        "source": {
            PoolKind.NFS: bool(PATH.match(wish.source)) and "/." not in wish.source,
            PoolKind.LVM: bool(SOURCE.match(wish.source)),
            PoolKind.RBD: bool(SOURCE.match(wish.source)),
        }.get(PoolKind(wish.kind), wish.source == ""),
        "servers": all(SERVER.match(server) for server in wish.servers)
        and _servers_fit(PoolKind(wish.kind), len(wish.servers)),
        "account": wish.account == "" or (wish.kind == PoolKind.RBD and bool(SOURCE.match(wish.account))),
        "secret": bool(wish.secret) == bool(wish.account) and (wish.secret == "" or _is_uuid(wish.secret)),
    }
    return [FieldError(f"/{field}", f"invalid_{field}", plain) for field, fine in checks.items() if not fine]


def _servers_fit(kind: PoolKind, count: int) -> bool:
    return {PoolKind.NFS: count == 1, PoolKind.RBD: 1 <= count <= 9}.get(kind, count == 0)


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _clashes(wish: PoolWish, host: Host, name: str) -> list[FieldError]:
    """What another pool of that host is already, or what the same storage is on another one."""
    errors = []
    there = list(StoragePool.objects.filter(host=host))
    if any(pool.name == name for pool in there):
        errors.append(FieldError("/word", "taken", _("This host has a pool of that name.")))
    path = f"/dev/{wish.source}" if wish.kind == PoolKind.LVM else wish.path
    for pool in there:
        inside = f"{pool.path}/".startswith(f"{path}/") or f"{path}/".startswith(f"{pool.path}/")
        if path and pool.path and inside:
            errors.append(FieldError("/path", "taken", _("Another pool of this host lies there.")))
    if not ABILITIES[wish.kind].shared:
        return errors
    others = StoragePool.objects.filter(share=wish.word).exclude(host=host)
    mine = (wish.kind, path, wish.source, list(wish.servers), wish.storage_class.pk)
    for pool in others:
        if (pool.kind, pool.path, pool.source, list(pool.servers), pool.storage_class_id) != mine:
            message = _("Another host has a pool of that name which is not the same: kind, path, source and class.")
            errors.append(FieldError("/word", "other_storage", message))
    return errors


@transaction.atomic
def pool_offer(pool: StoragePool, *, enabled: bool, actor: Actor) -> StoragePool:
    """Put new volumes there, or no more; what lies there stays."""
    actor.require(Permission.OPERATE)
    pool = StoragePool.objects.select_for_update(of=("self",)).get(pk=pool.pk)
    if pool.enabled != enabled:
        audit_record(actor, "storage_pool.edit", pool, enabled=[pool.enabled, enabled])
        pool.enabled = enabled
        pool.version += 1
        pool.save(update_fields=["enabled", "version"])
    return pool


@transaction.atomic
def pool_prepare(pool: StoragePool, *, actor: Actor) -> Operation:
    """Have a worker look at it again, as after a mend on the host."""
    actor.require(Permission.OPERATE)
    operation = _ask(pool, "pool.prepare", actor=actor)
    audit_record(actor, "storage_pool.prepare", pool)
    return operation


@transaction.atomic
def pool_remove(pool: StoragePool, *, actor: Actor) -> Operation:
    """Have the host forget a pool in which nothing lies; what else is in it stays there, and it is not unmade.

    Raises ``Conflict`` while volumes lie in it (``pool_in_use``), or for a host's own directory (``pool_is_home``).
    """
    actor.require(Permission.OPERATE)
    pool = StoragePool.objects.select_for_update(of=("self",)).select_related("host").get(pk=pool.pk)
    if is_home(pool, pool.host):
        raise Conflict(
            _("This is the host's own directory: first disks and images lie there."), code="pool_is_home", hint=""
        )
    if Volume.objects.filter(pool=pool).exists():
        raise Conflict(
            _("Volumes lie in this pool."),
            code="pool_in_use",
            hint=_("Offer it no longer, and wait until they are gone."),
        )
    StoragePool.objects.filter(pk=pool.pk).update(ready_at=None)
    operation = _ask(pool, "pool.forget", actor=actor)
    audit_record(actor, "storage_pool.remove", pool, host=pool.host.name)
    return operation


def _ask(pool: StoragePool, kind: str, *, actor: Actor) -> Operation:
    return operation_submit(pool, kind=kind, actor=actor, holds=[Hold("storage_pool", pool.pk)], lane=pool.host.lane)


def pool_record_ready(pool: StoragePool) -> None:
    """The host has it; volumes may be put there, and what was wrong before is not any more."""
    StoragePool.objects.filter(pk=pool.pk).update(ready_at=Coalesce("ready_at", Value(now())), problem="")


def pool_settle_prepare(operation: Operation) -> None:
    """Why it is not ready stands on its page."""
    if operation.status != "succeeded":
        words = operation.error_detail or operation.error_message
        StoragePool.objects.filter(pk=operation.subject_id).update(problem=words)


def pool_settle_forget(operation: Operation) -> None:
    """Forgotten: its row goes. Otherwise it is as before, but takes no volumes until it is prepared anew."""
    if operation.status == "succeeded":
        StoragePool.objects.filter(pk=operation.subject_id).delete()
