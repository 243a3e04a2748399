"""A volume is made: allowed? possible? paid for, placed, written down, asked for; one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Conflict, FieldError, Invalid
from portal.core.units import GIB
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.services.quota import Line, quota_foresee, quota_reserve
from vms.models import Guest, StorageClass, StoragePool, Volume
from vms.pool_kinds import ABILITIES, Ability
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.volumes.attach import free_position
from vms.services.volumes.check import (
    guest_locked,
    limit_errors,
    require_reach,
    volume_spec_check,
)
from vms.services.volumes.record import guest_with, made_of, source_holds, volume_cost, volume_meter, volumes_say
from vms.specs import VolumeSpec
from vms.states import HostState


class NoStorage(Conflict):
    """No pool of the class has room, or none is on the machine's host."""

    code = "no_storage"
    message = gettext_lazy("No storage of this class has room for a volume this large right now.")
    hint = gettext_lazy("Try a smaller one, another class, or again later.")


@transaction.atomic
def volume_create(tenant: Tenant, spec: VolumeSpec, *, actor: Actor) -> Operation:
    """Make an empty volume, or one of an image, a backup or a snapshot.

    With ``spec.guest`` beside that machine's disks, and plugged into it. A volume lies on one host: without a machine it is
    the one with most room, and only machines there can have it. Raises
    ``Invalid`` with every field that is wrong, ``OverQuota``, ``NoStorage`` or ``Conflict``; then nothing was changed.
    """
    actor.require(Permission.VOLUME_MANAGE)
    spec = replace(spec, storage_class=spec.storage_class or default_class())
    assert spec.storage_class is not None
    volume_spec_check(spec)
    guest = guest_for(spec, actor)
    cost = volume_cost(spec.storage_class, spec.size_gib) | guest_with(guest, volumes=1, size_gib=spec.size_gib)
    quota_reserve(tenant, cost)
    pool = pool_choose(spec.storage_class, spec.size_gib, guest=guest, can=pool_needs(spec))
    volume = Volume.objects.create(
        tenant=tenant,
        name=spec.name,
        guest=guest,
        position=free_position(guest) if guest is not None else 0,
        delete_with_guest=guest is not None and spec.delete_with_guest,
        image=spec.image,
        **made_of(spec.source),
        storage_class=spec.storage_class,
        pool=pool,
        size_gib=spec.size_gib,
        iops=spec.iops,
        mbps=spec.mbps,
    )
    volume_meter(volume)
    operation = operation_submit(
        volume,
        kind="volume.copy" if volume.snapshot_disk is not None else "volume.create",
        actor=actor,
        holds=[
            Hold("volume", volume.pk),
            *([Hold("guest", guest.pk)] if guest is not None else []),
            *source_holds(Volume.objects.filter(pk=volume.pk)),
        ],
        lane=pool.host.lane,
        params=copy_params([volume]),
        long=spec.source is not None,
    )
    audit_record(
        actor,
        "volume.create",
        volume,
        size_gib=volume.size_gib,
        storage_class=spec.storage_class.name,
        image=spec.image.name if spec.image is not None else "",
        guest=guest.name if guest is not None else "",
    )
    volumes_say([volume])
    return operation


def copy_params(volumes: Iterable[Volume]) -> dict[str, Any]:
    """Which of the volumes that an operation makes are copies, and of what snapshot, which says so also once that is gone."""
    copied = [volume for volume in volumes if volume.source_id is not None or volume.snapshot_disk_id is not None]
    params: dict[str, Any] = {"copied": [str(volume.pk) for volume in copied]} if copied else {}
    snapshot = next((volume.snapshot_disk for volume in copied if volume.snapshot_disk is not None), None)
    return params if snapshot is None else {**params, "snapshot": str(snapshot.snapshot_id)}


def guest_for(spec: VolumeSpec, actor: Actor) -> Guest | None:
    """The machine that a volume of ``spec`` is for, locked; raises where there is none, or it may not have it."""
    if spec.guest is None:
        if actor.narrowed:
            message = _("Your role makes volumes only for machines that it reaches.")
            raise Invalid(errors=[FieldError("/guest", "own_reach", message)])
        return None
    guest = guest_locked(spec.guest.pk)
    require_reach(actor, guest)
    if errors := limit_errors(spec.storage_class, spec.iops, spec.mbps, guest=guest):
        raise Invalid(errors=errors)
    refuse_unless_allowed(guest, "volume.create", actor)
    return guest


def default_class() -> StorageClass:
    """The storage class of whoever names none."""
    return StorageClass.objects.get(is_default=True)


def pool_needs(spec: VolumeSpec) -> Callable[[Ability], bool]:
    """What a kind of pool must be able to do to hold a volume of ``spec``."""
    if spec.source is not None:
        return lambda ability: ability.format == "qcow2"
    if spec.image is not None:
        return lambda ability: ability.images
    return lambda _ability: True


def pool_choose(
    storage_class: StorageClass,
    size_gib: int,
    *,
    guest: Guest | None,
    can: Callable[[Ability], bool] = lambda _ability: True,
) -> StoragePool:
    """The pool for a new volume: on the machine's host, or else the emptiest of those in use; raises ``NoStorage``.

    ``can``: what its kind must be able to do.
    """
    pools = StoragePool.objects.select_related("host").filter(storage_class=storage_class, enabled=True)
    pools = pools.filter(ready_at__isnull=False)
    pools = pools.filter(kind__in=[kind for kind, ability in ABILITIES.items() if can(ability)])
    if guest is not None:
        pools = pools.filter(host=guest.host_id)
    else:
        pools = pools.filter(host__state=HostState.UP, host__enabled=True, host__maintenance=False)
    roomy = [pool for pool in pools if not pool.capacity or pool.available >= size_gib * GIB]
    if not roomy:
        raise NoStorage
    return max(roomy, key=lambda pool: (pool.available, str(pool.pk)))


def volume_foresee(tenant: Tenant, *, size_gib: int, storage_class: StorageClass, actor: Actor) -> list[Line]:
    """What a volume of that size would make of the quota, without changing anything."""
    actor.require(Permission.VOLUME_MANAGE)
    return quota_foresee(tenant, volume_cost(storage_class, size_gib))
