"""A machine is copied: another one, with an identity of its own, of what its disks hold now or held in a snapshot."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from portal.core.errors import FieldError, Invalid, PortalError
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.services.quota import quota_foresee
from vms.models import Flavor, Guest, Network, Snapshot, SnapshotDisk, SshKey, StorageClass
from vms.services.copies.source import disks_now, passing_snapshot, readable, refuse_too_large, refuse_uncopied
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.create import Fit, guest_create, guest_fit
from vms.services.snapshots.check import refuse_unready
from vms.services.snapshots.record import snapshot_cost
from vms.services.volumes.check import require_reach
from vms.specs import GuestSpec, VolumeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneSpec:
    """What another machine is to be like; what is left out is as with the one it is copied from.

    ``volumes`` are the places of the further disks that are copied, all where None. ``snapshot`` of None is as it is now.
    """

    name: str
    snapshot: Snapshot | None = None
    flavor: Flavor | None = None
    networks: tuple[Network, ...] = ()
    ssh_keys: tuple[SshKey, ...] = ()
    tags: tuple[str, ...] | None = None
    volumes: frozenset[int] | None = None
    start: bool = True


@transaction.atomic
def guest_clone(guest: Guest, spec: CloneSpec, *, actor: Actor) -> Operation:
    """Make another machine of what ``guest``'s disks hold; the operation is about the new one.

    It gets a name, addresses, card and start-up data of its own, is built as ``guest`` is, and knows none of its passwords,
    user data or keys but by what lies on the disks; what firmware and TPM remember stays with ``guest``. Without a snapshot
    one is taken for it, which goes afterwards: the machine is held for that moment alone. Raises what ``guest_create`` and
    ``snapshot_create`` raise; then nothing was changed.
    """
    _require(guest, spec, actor)
    if spec.snapshot is None:
        snapshot, disks = passing_snapshot(guest, actor=actor)
    else:
        snapshot, _of, disks = readable(spec.snapshot, actor=actor)
    guest = _read(guest)
    operation = guest_create(guest.tenant, _spec(guest, spec, disks), actor=actor)
    audit_record(actor, "guest.clone", guest, guest=spec.name, snapshot=snapshot.name)
    return operation


def guest_clone_fit(guest: Guest, spec: CloneSpec, *, actor: Actor) -> Fit:
    """The answer that ``guest_clone`` would give, and the quota before and after; changes nothing."""
    _require(guest, spec, actor)
    guest = _read(guest)
    if spec.snapshot is None:
        disks = disks_now(guest)
    else:
        rows = spec.snapshot.disks.select_related("volume__storage_class", "volume__pool__host")
        disks = list(rows.order_by("position"))
    try:
        if spec.snapshot is None:
            refuse_unless_allowed(guest, "guest.clone", actor)
        else:
            refuse_unready(spec.snapshot)
        refuse_uncopied(disks, now=spec.snapshot is None)
        fit = guest_fit(guest.tenant, _spec(guest, spec, disks), actor=actor)
    except Invalid as error:
        return Fit(False, [(fault.code, fault.message) for fault in error.errors], [], 0)
    except PortalError as error:
        return Fit(False, [(error.code, error.sentence)], [], 0)
    lines = quota_foresee(guest.tenant, snapshot_cost(guest)) if spec.snapshot is None else []
    reasons = fit.reasons + [("over_quota", line.refusal().sentence) for line in lines if line.is_short]
    return replace(fit, fits=not reasons, reasons=reasons, quota=[*fit.quota, *lines])


def _require(guest: Guest, spec: CloneSpec, actor: Actor) -> None:
    actor.require(Permission.SNAPSHOT_MANAGE)
    actor.require(Permission.GUEST_CREATE)
    require_reach(actor, guest)
    if spec.snapshot is not None and spec.snapshot.guest_id != guest.pk:
        raise Invalid(errors=[FieldError("/snapshot", "unknown", _("This machine has no such snapshot."))])


def _read(guest: Guest) -> Guest:
    return Guest.objects.select_related("tenant", "host", "flavor", "image", "drivers").get(pk=guest.pk)


def _spec(guest: Guest, spec: CloneSpec, disks: Sequence[SnapshotDisk]) -> GuestSpec:
    root, *others = disks
    chosen = _chosen(others, spec.volumes)
    for disk in (root, *chosen):
        refuse_too_large(disk)
    return GuestSpec(
        name=spec.name,
        flavor=spec.flavor or guest.flavor,
        image=guest.image,
        networks=spec.networks or tuple(Network.objects.filter(ports__guest=guest).order_by("ports__position")),
        ssh_keys=spec.ssh_keys,
        tags=tuple(guest.tag_names()) if spec.tags is None else spec.tags,
        volumes=tuple(_volume(disk) for disk in chosen),
        root=root,
        like=guest,
        start=spec.start,
    )


def _chosen(disks: Sequence[SnapshotDisk], places: Collection[int] | None) -> list[SnapshotDisk]:
    """Those at ``places``; raises ``Invalid`` for one that is not there."""
    if places is None:
        return list(disks)
    if set(places) - {disk.position for disk in disks}:
        raise Invalid(errors=[FieldError("/volumes", "unknown", _("The machine has no such disk."))])
    return [disk for disk in disks if disk.position in places]


def _volume(disk: SnapshotDisk) -> VolumeSpec:
    was = disk.volume
    offered: StorageClass | None = was.storage_class if was.storage_class.enabled else None
    return VolumeSpec(
        name=was.name,
        size_gib=disk.size_gib,
        storage_class=offered,
        source=disk,
        delete_with_guest=was.delete_with_guest,
        iops=was.iops,
        mbps=was.mbps,
    )
