"""What the end of an operation on a guest returns or confirms: quota, claims, addresses, intent; in the ending transaction.

Each function is called for every terminal status, whoever ended the operation.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from django.utils.translation import gettext as _

from operations.models import Operation
from operations.states import Status
from portal.core.clock import now
from tenants.actors import system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.journal.usage import usage_close
from tenants.reactions import announce
from tenants.services.quota import class_disk, quota_release
from vms.models import Address, Guest, HostClaim, Port, Spare, Volume
from vms.models.guests import Charge
from vms.models.spares import SpareRole
from vms.selectors.security_groups import groups_of
from vms.services.addresses import ports_release
from vms.services.guests.kept import stop_keep
from vms.services.guests.remove import guest_purge_failed_build, guest_withdraw, refuse_taken_name
from vms.services.guests.resize import how_ended, resize_undo
from vms.services.guests.spares import spares_tidy
from vms.services.guests.wanting import WISH, guest_follow, guest_gone, guest_want, is_lost
from vms.services.security_groups import groups_follow
from vms.services.snapshots.record import snapshots_go_with
from vms.services.volumes.settle import volumes_let_go
from vms.states import ON, SETTLED, Power


def _guest(operation: Operation) -> Guest | None:
    return (
        Guest.objects.select_for_update(of=("self",))
        .select_related("tenant", "host")
        .filter(pk=operation.subject_id)
        .first()
    )


def _ended(operation: Operation) -> bool:
    return operation.status == Status.SUCCEEDED


def created(operation: Operation) -> None:
    """Built: the machine stands. Not built: the quota returns now; what lies on the host goes with a purge, and then the rows."""
    guest = _guest(operation)
    if guest is None:
        return
    if _ended(operation):
        guest.built_at = guest.built_at or now()
        guest.save(update_fields=["built_at"])
    else:
        discharge(guest, Charge.NONE)
        guest.problem_code, guest.problem_message = operation.error_code, operation.error_message
        guest.save(update_fields=["problem_code", "problem_message", "charge"])
        guest_purge_failed_build(guest, actor=system_actor(guest.tenant, why="settle"))
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def powered(operation: Operation) -> None:
    """Done: clear the problem. Not done: want again what the machine is seen to do, so that nobody acts on a dead wish.

    Where its host fell silent meanwhile, a wish to have it off is kept (``kept``) unless it was called off, and one to have it on
    is taken back: seen again, it is charged for what it does, and either can be asked for anew.
    """
    guest = _guest(operation)
    if guest is None:
        return
    if _ended(operation):
        guest.problem_code = guest.problem_message = ""
    else:
        want_seen(guest, operation)
        guest.problem_code, guest.problem_message = operation.error_code, operation.error_message
        stop_keep(guest, operation)
    guest.save(update_fields=[*WISH, "problem_code", "problem_message"])
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def want_seen(guest: Guest, operation: Operation, *, was_left: bool = False) -> None:
    """After a failure, want what the machine is seen to do; sets the wish, saves nothing.

    One that was lost with its host goes on waiting for its turn, if the operation ``was_left`` before it tried to start it.
    """
    if was_left and is_lost(guest):
        return
    if guest.seen_power == Power.UNKNOWN and operation.status == Status.CANCELLED:
        guest_want(guest, operation.params.get("want_before", guest.want_power), forced=True)
    elif Power(guest.seen_power) in SETTLED:
        guest_want(guest, Power.STOPPED if guest.seen_power == Power.CRASHED else guest.seen_power, forced=True)
    elif guest.want_power in ON and operation.params.get("want_before", Power.RUNNING) not in ON:
        guest_want(guest, operation.params["want_before"])


def rebuilt(operation: Operation) -> None:
    """New: the problem is over. Not: it says whether the machine is the old one or the new one, and what is left over goes."""
    guest = _guest(operation)
    if guest is None:
        return
    is_new = not Spare.objects.filter(guest=guest, role=SpareRole.FRESH).exists()
    if not _ended(operation):
        operation.error_hint = str(
            _("The machine has its new disk; the old one is gone.") if is_new
            else _("The machine was not rebuilt: it has its old disk.")
        )  # fmt: skip
        operation.save(update_fields=["error_hint"])
    _changed_disks(guest, operation, was_left=not is_new)


def rescued(operation: Operation) -> None:
    """Into rescue or out of it, or not: its row says which, and what is left over of it goes."""
    guest = _guest(operation)
    if guest is None:
        return
    if not _ended(operation):
        operation.error_hint = str(
            _("The machine is in rescue mode.") if guest.in_rescue else _("The machine has its own disk.")
        )
        operation.save(update_fields=["error_hint"])
    _changed_disks(guest, operation, was_left=guest.in_rescue != (operation.kind == "guest.rescue"))


def _changed_disks(guest: Guest, operation: Operation, *, was_left: bool) -> None:
    if _ended(operation):
        guest.problem_code = guest.problem_message = ""
    else:
        want_seen(guest, operation, was_left=was_left)
        message = f"{operation.error_message} {operation.error_hint}".strip()
        guest.problem_code, guest.problem_message = operation.error_code, message
    guest.save(update_fields=[*WISH, "problem_code", "problem_message"])
    spares_tidy(guest, operation)
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def resized(operation: Operation) -> None:
    """Taken, or waiting for the next power-off: the problem is over. Not taken: quota and place of what it was to have return.

    Where nobody knows what the host has done of it, they stay: it takes the size when it is next off.
    """
    guest = _guest(operation)
    if guest is None:
        return
    ended, fields = how_ended(operation), ["problem_code", "problem_message"]
    if ended.succeeded:
        guest.problem_code = guest.problem_message = ""
    else:
        guest.problem_code, guest.problem_message = operation.error_code, operation.error_message
        if ended.is_known:
            fields += resize_undo(guest)
    guest.save(update_fields=fields)
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def deleted(operation: Operation) -> None:
    """Off the host: into the bin, with vCPUs, memory and the place returned. Not off: it stays what it was."""
    guest = _guest(operation)
    if guest is None:
        return
    if not _ended(operation):
        guest_want(guest, _wish_before(guest, operation), forced=True)
        guest.problem_code, guest.problem_message = operation.error_code, operation.error_message
        guest.save(update_fields=[*WISH, "problem_code", "problem_message"])
    else:
        discharge(guest, Charge.KEPT)
        HostClaim.objects.filter(guest=guest).delete()
        guest.binned_at = now()
        guest.purge_after = guest.binned_at + timedelta(days=guest.tenant.bin_days)
        guest.lease_ends_at = None
        guest.problem_code = guest.problem_message = ""
        guest_follow(guest)
        ends = ["binned_at", "purge_after", "lease_ends_at"]
        guest.save(update_fields=["charge", *ends, *WISH, "problem_code", "problem_message"])
        announce("guest.gone", guest=guest)
        spares_tidy(guest, operation)
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def _wish_before(guest: Guest, operation: Operation) -> str:
    """What to want again of a machine that was to go and did not: what it does, or else what was wanted of it."""
    if Power(guest.seen_power) in SETTLED - {Power.CRASHED}:
        return guest.seen_power
    return str(operation.params.get("want_before", Power.STOPPED))


def restored(operation: Operation) -> None:
    """Back on the host: out of the bin. Not back: vCPUs, memory and place return, and it stays in the bin.

    A worker that had begun may have defined it before it failed or fell silent: that is taken off the host again.
    Raises ``Conflict`` (``name_taken``) where another got its name meanwhile; it has failed then.
    """
    guest = _guest(operation)
    if guest is None:
        return
    if _ended(operation):
        refuse_taken_name(guest)
        guest.binned_at = guest.purge_after = None
        guest_follow(guest)
        guest.problem_code = guest.problem_message = ""
    else:
        discharge(guest, Charge.KEPT)
        HostClaim.objects.filter(guest=guest).delete()
        guest_want(guest, Power.ABSENT)
        guest.problem_code, guest.problem_message = operation.error_code, operation.error_message
    guest.save(update_fields=["charge", "binned_at", "purge_after", *WISH, "problem_code", "problem_message"])
    if not _ended(operation) and operation.started_at is not None:
        guest_withdraw(guest, actor=system_actor(guest.tenant, why="settle"), after=operation)
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def withdrawn(operation: Operation) -> None:
    """Off the host again, or not, with the reason: in the bin it is in any case."""
    guest = _guest(operation)
    if guest is None:
        return
    if not _ended(operation):
        guest.problem_code, guest.problem_message = operation.error_code, operation.error_message
        guest.save(update_fields=["problem_code", "problem_message"])
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def purged(operation: Operation) -> None:
    """Nothing of it is left on the host: forget the rows and return what they held. Else it stays, with the reason.

    One that is still defined on its host is wanted again; one whose disks may be gone is not.
    """
    guest = _guest(operation)
    if guest is None:
        return
    tenant, pk = guest.tenant, guest.pk
    if not _ended(operation):
        if guest.built_at is not None and guest.binned_at is None and guest.seen_power != Power.ABSENT:
            guest_want(guest, _wish_before(guest, operation), forced=True)
        guest.problem_code, guest.problem_message = operation.error_code, operation.error_message
        guest.save(update_fields=[*WISH, "problem_code", "problem_message"])
        event_append(tenant, "guest.changed", "guest", pk)
        return
    snapshots_go_with(guest)
    volumes_let_go(guest)
    discharge(guest, Charge.NONE)
    guest_gone(guest)
    volumes = Volume.objects.filter(guest=guest)
    usage_close(tenant, resource_ids=[pk, *volumes.values_list("pk", flat=True)], at=now())
    volumes.delete()
    HostClaim.objects.filter(guest=guest).delete()
    groups = groups_of(Port.objects.filter(guest=guest))
    ports_release(Port.objects.filter(guest=guest))
    groups_follow(groups)
    announce("guest.gone", guest=guest)
    audit_record(system_actor(tenant, why=operation.requested_via), "guest.purged", guest)
    guest.delete()
    event_append(tenant, "guest.deleted", "guest", pk)


def guest_keeps(guest: Guest) -> Counter[str]:
    """What of a machine its tenant's quota counts as long as its rows are there, in the bin, too: disks, cards, addresses."""
    kept: Counter[str] = Counter()
    for volume in Volume.objects.filter(guest=guest).select_related("storage_class"):
        size = volume.size_gib
        kept.update({"volumes": 1, "disk_gib": size, class_disk(volume.storage_class.name): size})
    kept["ports"] = Port.objects.filter(guest=guest).count()
    kept["addresses"] = Address.objects.filter(port__guest=guest).count()
    return kept


def discharge(guest: Guest, charge: Charge) -> None:
    """Return to the quota the difference between what the guest is charged and ``charge``; sets the column, saves nothing."""
    back: dict[str, int] = {}
    if guest.charge == Charge.FULL:
        back |= {"guests": 1, "vcpus": guest.charged_vcpus, "memory_mib": guest.charged_memory_mib}
    if guest.charge != Charge.NONE and charge == Charge.NONE:
        back |= guest_keeps(guest)
    if guest.charge == Charge.KEPT and charge == Charge.KEPT:
        return
    guest.charge = charge
    if back:
        quota_release(guest.tenant, back)
