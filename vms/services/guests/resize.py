"""Another size for a machine: paid for before it is made, taken when the machine can take it.

A row's ``vcpus`` and ``memory_mib`` are what the machine has, ``next_*`` what it is to have; quota and host claim hold the
larger of the two until one of them is over. Disks only grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation, OperationLock
from operations.states import Status
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid, PortalError
from portal.core.units import mib_label
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.journal.usage import usage_switch
from tenants.policy import Permission
from tenants.services.quota import quota_foresee, quota_release, quota_reserve
from vms.models import Flavor, Guest, HostClaim, Volume
from vms.models.guests import Charge
from vms.selectors.prices import machine_price
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.asking import guest_ask
from vms.services.guests.create import Fit
from vms.services.guests.wanting import WISH, guest_want
from vms.services.placing import host_has_room_for
from vms.services.volumes.check import guest_locked
from vms.services.volumes.record import guest_with, volume_room
from vms.states import ON, Power

SIZES: Final = ("vcpus", "memory_mib")
NEXT: Final = ("next_flavor", "next_vcpus", "next_memory_mib")
UNKNOWN_OUTCOME: Final = frozenset({"host_unreachable", "host_stuck", "timed_out"})
"""Failures after which nobody knows whether the host did what it was asked."""


class When(StrEnum):
    """When a running machine takes its new size."""

    LIVE = "live"
    """Now, while it runs: only upwards."""
    RESTART = "restart"
    """Now, by being shut down and started."""
    POWER_OFF = "power_off"
    """When it is next off, whoever switches it off."""


@transaction.atomic
def guest_resize(guest: Guest, flavor: Flavor, *, actor: Actor, when: When = When.LIVE) -> Operation:
    """Ask for ``guest`` to have the size of ``flavor``; its disk grows at once, and never shrinks.

    One that is off takes it at once, whatever ``when`` says. Raises ``OverQuota``, ``NoRoom``, ``Invalid`` or ``Conflict``
    (``needs_restart`` where it cannot be done while the machine runs) and changes nothing then.
    """
    actor.require(Permission.GUEST_EDIT, guest)
    guest = guest_locked(guest.pk)
    refuse_unless_allowed(guest, "guest.resize", actor)
    _refuse_unfit(guest, flavor, when)
    root = Volume.objects.select_for_update().select_related("storage_class").get(guest=guest, position=0)
    more, less = _difference(guest, root, flavor)
    quota_reserve(guest.tenant, more)
    quota_release(guest.tenant, less)
    if guest.seen_power == Power.CRASHED:
        guest_want(guest, Power.STOPPED)
    guest.next_flavor, guest.next_vcpus, guest.next_memory_mib = flavor, flavor.vcpus, flavor.memory_mib
    root.size_gib = max(root.size_gib, flavor.disk_gib)
    root.save(update_fields=["size_gib"])
    host_has_room_for(guest, disk_gib=root.size_gib)
    _claim(guest, root)
    guest.want_generation += 1
    guest.version += 1
    guest.save(update_fields=[*NEXT, *WISH, "want_generation", "version"])
    operation = guest_ask(guest, "guest.resize", actor=actor, params={"when": when.value})
    audit_record(actor, "guest.resize", guest, flavor=[guest.flavor.name, flavor.name], when=when.value)
    return operation


def resize_fit(guest: Guest, flavor: Flavor, *, actor: Actor, when: When = When.LIVE) -> Fit:
    """The answer that ``guest_resize`` would give, and the quota before and after; changes nothing."""
    actor.require(Permission.GUEST_EDIT, guest)
    guest = Guest.objects.select_related("host", "tenant", "flavor").get(pk=guest.pk)
    root = Volume.objects.select_related("storage_class").get(guest=guest, position=0)
    more, _less = _difference(guest, root, flavor)
    reasons: list[tuple[str, str]] = []
    lines = quota_foresee(guest.tenant, more)
    reasons += [("over_quota", line.refusal().sentence) for line in lines if line.is_short]
    try:
        refuse_unless_allowed(guest, "guest.resize", actor)
        _refuse_unfit(guest, flavor, when)
        guest.next_vcpus, guest.next_memory_mib = flavor.vcpus, flavor.memory_mib
        host_has_room_for(guest, disk_gib=max(root.size_gib, flavor.disk_gib))
    except Invalid as error:
        reasons += [(fault.code, fault.message) for fault in error.errors]
    except PortalError as error:
        reasons.append((error.code, error.sentence))
    disks = Volume.objects.filter(guest=guest).exclude(position=0).values_list("size_gib", "storage_class__name")
    first = (max(root.size_gib, flavor.disk_gib), root.storage_class.name)
    return Fit(not reasons, reasons, lines, 0, machine_price(flavor, [first, *disks]))


def grows_live(guest: Guest, flavor: Flavor) -> bool:
    """Could a running machine take this size at all without a restart? The host has the last word.

    Not one that is smaller anywhere, and not one with other limits of vCPUs and disks, which are written when a machine starts.
    """
    limits = ("cpu_percent", "disk_iops", "disk_mbps")
    same = all(getattr(flavor, name) == getattr(guest.flavor, name) for name in limits)
    return same and all(getattr(flavor, name) >= getattr(guest, name) for name in SIZES)


def _refuse_unfit(guest: Guest, flavor: Flavor, when: When) -> None:
    if not flavor.enabled:
        raise Invalid(errors=[FieldError("/flavor", "flavor_gone", _("This size is no longer offered."))])
    if flavor.memory_mib < guest.image.min_memory_mib:
        message = _("Its image needs %s of memory.") % mib_label(guest.image.min_memory_mib)
        raise Invalid(errors=[FieldError("/flavor", "memory_too_small", message)])
    if flavor.pk == guest.flavor_id and guest.next_flavor_id is None and _has(guest, flavor):
        raise Conflict(_("The machine has this size already."), code="same_size", hint="")
    if guest.seen_power == Power.RUNNING and when == When.LIVE and not grows_live(guest, flavor):
        raise NeedsRestart


class NeedsRestart(Conflict):
    """A running machine cannot take this size as it is."""

    code = "needs_restart"
    message = gettext_lazy("The machine can take this size only with a restart.")
    hint = gettext_lazy("Choose to restart it now, or at its next power-off.")


def _has(guest: Guest, flavor: Flavor) -> bool:
    return all(getattr(guest, name) == getattr(flavor, name) for name in SIZES)


def _difference(guest: Guest, root: Volume, flavor: Flavor) -> tuple[dict[str, int], dict[str, int]]:
    """What the quota is asked for besides what it counts of the machine, with what is asked of a single one; and what returns."""
    moves = {
        "vcpus": max(guest.vcpus, flavor.vcpus) - guest.charged_vcpus,
        "memory_mib": max(guest.memory_mib, flavor.memory_mib) - guest.charged_memory_mib,
    }
    grown = max(0, flavor.disk_gib - root.size_gib)
    more = {name: amount for name, amount in moves.items() if amount > 0}
    more |= {f"guest_{name}": getattr(flavor, name) for name in more}
    if grown:
        more |= volume_room(root.storage_class, grown) | guest_with(guest, volumes=0, size_gib=grown)
    return more, {name: -amount for name, amount in moves.items() if amount < 0}


def _claim(guest: Guest, root: Volume) -> None:
    """Have the host hold what the quota counts."""
    HostClaim.objects.filter(guest=guest).update(
        vcpus=guest.charged_vcpus, memory_mib=guest.charged_memory_mib, disk_gib=root.size_gib
    )


@transaction.atomic
def guest_take_size(guest: Guest, *, vcpus: int, memory_mib: int) -> None:
    """Write down that the machine has this size now; where it is the next one, that is over. Safe to repeat."""
    row = Guest.objects.select_for_update(of=("self",)).select_related("tenant", "flavor").get(pk=guest.pk)
    _take(row, vcpus=vcpus, memory_mib=memory_mib)
    row.save(update_fields=[*SIZES, *NEXT, "flavor", "version"])
    if row.seen_power in ON:
        facts: dict[str, Any] = {
            "resource_type": "guest",
            "resource_id": row.pk,
            "at": now(),
            "flavor": row.flavor.name,
        }
        usage_switch(row.tenant, meter="vcpus", quantity=row.vcpus, **facts)
        usage_switch(row.tenant, meter="memory_mib", quantity=row.memory_mib, **facts)
    event_append(row.tenant, "guest.changed", "guest", row.pk)


def size_follow(guest: Guest) -> tuple[str, ...]:
    """A machine that is off takes its next size; returns the columns to save, of a row that the caller has locked.

    Not while a resize is at work on it, which takes the size itself once the disk has grown.
    """
    if guest.next_flavor_id is None or guest.seen_power not in (Power.STOPPED, Power.ABSENT):
        return ()
    if OperationLock.objects.filter(resource_id=guest.pk, operation__kind="guest.resize").exists():
        return ()
    assert guest.next_vcpus is not None
    assert guest.next_memory_mib is not None
    _take(guest, vcpus=guest.next_vcpus, memory_mib=guest.next_memory_mib)
    return (*SIZES, *NEXT, "flavor", "version")


def _take(guest: Guest, *, vcpus: int, memory_mib: int) -> None:
    before = _charged(guest)
    guest.vcpus, guest.memory_mib = vcpus, memory_mib
    if guest.next_flavor is not None and (vcpus, memory_mib) == (guest.next_vcpus, guest.next_memory_mib):
        guest.flavor = guest.next_flavor
        _drop_next(guest)
    guest.version += 1
    _return(guest, before)


def _drop_next(guest: Guest) -> None:
    guest.next_flavor = guest.next_vcpus = guest.next_memory_mib = None


def _charged(guest: Guest) -> dict[str, int]:
    return {"vcpus": guest.charged_vcpus, "memory_mib": guest.charged_memory_mib}


def _return(guest: Guest, before: dict[str, int]) -> None:
    """Give back what the machine takes less than ``before``, of quota and host."""
    after = _charged(guest)
    if guest.charge == Charge.FULL:
        quota_release(guest.tenant, {name: before[name] - after[name] for name in after})
    HostClaim.objects.filter(guest=guest).update(**after)


@transaction.atomic
def guest_record_disk(guest: Guest) -> None:
    """Write down that the first disk is as large on the host as it is charged for; it is metered so from now on."""
    row = Guest.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=guest.pk)
    root = Volume.objects.select_related("storage_class").get(guest=row, position=0)
    if row.disk_gib == root.size_gib:
        return
    row.disk_gib = root.size_gib
    row.save(update_fields=["disk_gib"])
    usage_switch(
        row.tenant,
        resource_type="volume",
        resource_id=root.pk,
        meter="disk_gib",
        quantity=root.size_gib,
        at=now(),
        storage_class=root.storage_class.name,
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """How a resize ended, for what it leaves behind."""

    succeeded: bool
    is_known: bool
    """Does anybody know what the host has done of it?"""


def how_ended(operation: Operation) -> Ended:
    """``is_known`` is false where a worker had begun and the host fell silent: what was reserved stays reserved."""
    lost = operation.started_at is not None and operation.error_code in UNKNOWN_OUTCOME
    return Ended(operation.status == Status.SUCCEEDED, not lost)


def resize_undo(guest: Guest) -> tuple[str, ...]:
    """What was not taken is wanted no more: its quota and its place return. The columns to save, of a locked row."""
    root = Volume.objects.select_for_update().select_related("storage_class").get(guest=guest, position=0)
    before = _charged(guest)
    _drop_next(guest)
    guest.version += 1
    _return(guest, before)
    ungrown = root.size_gib - guest.disk_gib
    if ungrown > 0:
        root.size_gib = guest.disk_gib
        root.save(update_fields=["size_gib"])
        HostClaim.objects.filter(guest=guest).update(disk_gib=root.size_gib)
        quota_release(guest.tenant, volume_room(root.storage_class, ungrown))
    return (*NEXT, "version")
