"""A machine goes to the bin, comes back from it, or is gone for good."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.services.quota import quota_reserve
from vms.models import Guest, HostClaim, Snapshot, Volume
from vms.models.guests import Charge
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.asking import guest_ask, guest_wish
from vms.services.guests.wanting import WISH, guest_want
from vms.services.placing import host_claimable
from vms.services.volumes.check import guest_locked
from vms.services.volumes.record import copy_hold, volumes_going
from vms.states import Power


@transaction.atomic
def guest_delete(guest: Guest, *, actor: Actor, purge: bool = False, delete_volumes: bool | None = None) -> Operation:
    """Move a machine to the bin for the tenant's grace period; ``purge`` removes it at once, from the bin too.

    Data volumes hang on it as long as it is in the bin. ``delete_volumes`` says what becomes of all of them when it is gone for
    good: deleted with it, or let go and kept; None leaves that as it stands on each of them.

    Raises ``Conflict`` for a protected machine, or while something else is being done with it.
    """
    actor.require(Permission.GUEST_DELETE, guest)
    if delete_volumes is not None:
        actor.require(Permission.VOLUME_MANAGE)
    guest = guest_locked(guest.pk)
    if guest.protected and guest.built_at is not None:
        raise Conflict(
            _("This machine is protected against deletion."), code="protected", hint=_("Take the protection off first.")
        )
    refuse_unless_allowed(guest, "guest.purge" if purge else "guest.delete", actor)
    purge = purge or guest.tenant.bin_days == 0 or guest.built_at is None
    kind = "guest.purge" if purge else "guest.delete"
    before = guest.want_power
    if delete_volumes is not None:
        Volume.objects.filter(guest=guest, position__gt=0).update(delete_with_guest=delete_volumes)
    guest_wish(guest, Power.ABSENT)
    more = _not_copied(guest) if purge else []
    operation = guest_ask(guest, kind, actor=actor, params={"want_before": before}, more=more)
    words: dict[str, Any] = {} if delete_volumes is None else {"delete_volumes": delete_volumes}
    audit_record(actor, kind, guest, **words)
    return operation


def _not_copied(guest: Guest) -> list[Hold]:
    """What is held so that nobody copies from its snapshots while they go with it."""
    gone = Snapshot.objects.filter(Q(guest=guest) | Q(guest=None, disks__volume__in=volumes_going(guest)))
    return [copy_hold(pk, alone=True) for pk in gone.order_by("pk").values_list("pk", flat=True).distinct()]


@transaction.atomic
def guest_restore(guest: Guest, *, actor: Actor) -> Operation:
    """Bring a machine back from the bin, stopped, with its disks and addresses; its vCPUs and memory are reserved anew.

    Raises ``OverQuota``, ``NoRoom`` or ``Conflict`` (its name was given to another) and changes nothing then.
    """
    actor.require(Permission.GUEST_DELETE, guest)
    guest = guest_locked(guest.pk)
    refuse_unless_allowed(guest, "guest.restore", actor)
    refuse_taken_name(guest)
    if guest.charge == Charge.KEPT:
        quota_reserve(
            guest.tenant,
            {"guests": 1, "vcpus": guest.charged_vcpus, "memory_mib": guest.charged_memory_mib},
        )
        guest.charge = Charge.FULL
    host = host_claimable(guest)
    guest_want(guest, Power.STOPPED)
    guest.want_generation += 1
    guest.version += 1
    guest.save(update_fields=[*WISH, "want_generation", "version", "charge"])
    HostClaim.objects.get_or_create(
        guest=guest,
        host=host,
        defaults={
            "tenant": guest.tenant,
            "generation": guest.want_generation,
            "vcpus": guest.charged_vcpus,
            "memory_mib": guest.charged_memory_mib,
            "disk_gib": guest.disk_gib,
        },
    )
    operation = guest_ask(guest, "guest.restore", actor=actor)
    audit_record(actor, "guest.restore", guest)
    return operation


def refuse_taken_name(guest: Guest) -> None:
    """Raise ``Conflict`` where a machine outside the bin has the name of this one in it."""
    if Guest.objects.filter(name=guest.name, binned_at=None).exists():
        raise Conflict(
            _("A machine called %(name)s exists."), code="name_taken", hint=_("Rename that one first."), name=guest.name
        )


def guest_purge_failed_build(guest: Guest, *, actor: Actor) -> Operation:
    """What a failed creation left is taken off the host and forgotten; asked for by the settling of that creation.

    It holds nothing, so that the machine shows what went wrong until it is gone, and can be deleted by hand.
    """
    guest_wish(guest, Power.ABSENT)
    return operation_submit(
        guest,
        kind="guest.purge",
        actor=actor,
        lane=guest.host.lane if guest.host else "",
        generation=guest.want_generation,
        params={"after_failed_build": True},
    )


def guest_withdraw(guest: Guest, *, actor: Actor, after: Operation | None = None) -> Operation:
    """Take a binned machine's definition off its host once more; its disks stay.

    Asked for by the settling of a restore that failed (``after``), or by the sweep that found one. Raises ``Conflict`` while
    something else is being done with it.
    """
    guest_wish(guest, Power.ABSENT)
    return guest_ask(guest, "guest.withdraw", actor=actor, after=after)
