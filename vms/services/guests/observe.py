"""The one writer of ``seen_*``: events, sweeps and handlers all come through here, in any order, any number of times."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from operations.models import OperationLock
from portal.core.clock import now
from tenants.journal.events import event_append
from tenants.journal.usage import usage_switch
from tenants.reactions import announce
from tenants.scoping import every_tenant, tenant_scope
from vms.models import Disc, Guest, Host
from vms.models.discs import DiscBoot
from vms.services.guests.kept import say_stopped
from vms.services.guests.resize import size_follow
from vms.services.guests.wanting import WISH, guest_follow, guest_want, is_crashed, is_lost
from vms.states import LOST, OFF, ON, SETTLED, STOPPED_BY_SOMEBODY, AfterCrash, Power

HOST_RESTARTED: Final = "host_restarted"
CRASHED: Final = "crashed"
CRASHED_TOO_OFTEN: Final = "crashed_too_often"


@dataclass(frozen=True, slots=True)
class Observation:
    """What a host was seen to do with a guest. ``generation`` is the domain's own; ``at`` is when it was true.

    ``display`` (socket paths) is None where the observer does not know it.
    """

    power: Power
    reason: str = ""
    generation: int | None = None
    display: dict[str, str] | None = None
    at: datetime = field(default_factory=now)


def guest_record_observation(pk: UUID | str, seen: Observation, *, host: Host | None = None) -> bool:
    """Write down what was seen; True if it changed anything. Late ones, and other hosts' ones, change nothing.

    A machine that was seen to stop, start or pause by itself, with no operation on it, is believed: the wish follows, so that
    nobody starts again what its owner shut down from inside, also while its host was silent. A crash or silence changes no
    wish; nor does a host that restarted: what is wanted on is started again (``vms.services.guests.returning``).
    """
    with every_tenant(why="observations come from hosts, not from tenants"):
        tenant = Guest.objects.filter(pk=pk).select_related("tenant").first()
    if tenant is None:
        return False
    with tenant_scope(tenant.tenant), transaction.atomic():
        guest = Guest.objects.select_for_update(of=("self",)).select_related("tenant").filter(pk=pk).first()
        if guest is None or (host is not None and guest.host_id != host.pk):
            return False
        if guest.seen_at is not None and seen.at < guest.seen_at:
            return False
        if seen.generation is not None and seen.generation < guest.seen_generation:
            return False
        return _write(guest, seen)


def _write(guest: Guest, seen: Observation) -> bool:
    before = Power(guest.seen_power)
    started = _started(guest, before, seen)
    fields = ["seen_at"]
    guest.seen_at = seen.at
    changed = before != seen.power
    if seen.generation is not None and seen.generation > guest.seen_generation:
        guest.seen_generation = min(seen.generation, guest.want_generation)
        fields.append("seen_generation")
    if seen.display is not None and guest.seen_display != seen.display:
        guest.seen_display = seen.display
        fields.append("seen_display")
        changed = True
    if before != seen.power:
        guest.seen_power, guest.seen_since, guest.seen_reason = seen.power, seen.at, seen.reason[:40]
        fields += ["seen_power", "seen_since", "seen_reason"]
        if _believed(guest, before, seen):
            _believe(guest, before, seen)
            fields.append("version")
        fields += [*say_lost(guest), *say_crashed(guest), *say_stopped(guest)]
        if started and not guest.in_rescue:
            Disc.objects.filter(guest=guest, boot=DiscBoot.ONCE).update(boot=DiscBoot.AFTER, version=F("version") + 1)
        if seen.power not in (Power.RUNNING, Power.PAUSED):
            guest.seen_display = {}
            fields.append("seen_display")
            if seen.power != Power.UNKNOWN:
                announce("guest.dark", guest=guest)
    guest_follow(guest)
    fields += [*WISH, *size_follow(guest)]
    guest.save(update_fields=sorted(set(fields)))
    if before != seen.power:
        _meter(guest, seen)
    if changed:
        event_append(guest.tenant, "guest.changed", "guest", guest.pk)
    return changed


def _believe(guest: Guest, before: Power, seen: Observation) -> None:
    """The wish follows; of one that was on and shut down it is remembered when, in case its host did that (``going_along``)."""
    yielded = before in ON and (seen.power, seen.reason) == (Power.STOPPED, "shutdown")
    guest_want(guest, seen.power, forced=True, yielded_at=seen.at if yielded else None)
    guest.version += 1


def _started(guest: Guest, before: Power, seen: Observation) -> bool:
    """Was it started since it was last seen? After a silence its definition tells, which each start makes newer."""
    if seen.power not in ON:
        return False
    return before in OFF or (before == Power.UNKNOWN and (seen.generation or 0) > guest.seen_generation)


def _believed(guest: Guest, before: Power, seen: Observation) -> bool:
    """Does the wish follow? Only from one known power to another, on a built machine nobody is working on.

    After a silence only that it was stopped, where the host says so.
    """
    if seen.power not in SETTLED - {Power.CRASHED} or guest.want_power in (seen.power, Power.ABSENT):
        return False
    if guest.built_at is None or guest.binned_at is not None or is_lost(guest):
        return False
    told = seen.power == Power.STOPPED and seen.reason in STOPPED_BY_SOMEBODY | {LOST}
    if before not in SETTLED and not (before == Power.UNKNOWN and told):
        return False
    return not OperationLock.objects.filter(resource_type="guest", resource_id=guest.pk).exists()


def say_lost(guest: Guest) -> list[str]:
    """Its page says why it is off and what comes next, for as long as it is so; the columns that changed."""
    if is_lost(guest) and guest.built_at is not None and guest.binned_at is None:
        guest.problem_code = HOST_RESTARTED
        guest.problem_message = _("Its host restarted. It is started again when its turn comes.")
    elif guest.problem_code == HOST_RESTARTED:
        guest.problem_code = guest.problem_message = ""
    else:
        return []
    return ["problem_code", "problem_message"]


def say_crashed(guest: Guest) -> list[str]:
    """The same of one that crashed and is to be started again; the columns that changed. Safe to repeat."""
    there = guest.built_at is not None and guest.binned_at is None
    said = guest.problem_code in (CRASHED, CRASHED_TOO_OFTEN)
    if is_crashed(guest) and there and guest.after_crash == AfterCrash.RESTART:
        if said:
            return []
        guest.problem_code = CRASHED
        guest.problem_message = _("It crashed. It is started again by itself, each time later.")
    elif said:
        guest.problem_code = guest.problem_message = ""
    else:
        return []
    return ["problem_code", "problem_message"]


def _meter(guest: Guest, seen: Observation) -> None:
    """Running and paused machines use vCPUs and memory; silence changes nothing until somebody knows."""
    if seen.power == Power.UNKNOWN:
        return
    on = seen.power in (Power.RUNNING, Power.PAUSED)
    facts: dict[str, Any] = {
        "resource_type": "guest",
        "resource_id": guest.pk,
        "at": seen.at,
        "flavor": guest.flavor.name,
    }
    usage_switch(guest.tenant, meter="vcpus", quantity=guest.vcpus if on else 0, **facts)
    usage_switch(guest.tenant, meter="memory_mib", quantity=guest.memory_mib if on else 0, **facts)


def guests_mark_unknown(host: Host) -> int:
    """A host went silent: of its guests nothing is known any more. Not stopped: silence is not evidence."""
    with every_tenant(why="a host's guests are of many tenants"):
        rows = list(
            Guest.objects.filter(host=host, binned_at=None)
            .exclude(seen_power__in=[Power.UNKNOWN, Power.ABSENT])
            .values_list("pk", flat=True)
        )
    return sum(guest_record_observation(pk, Observation(Power.UNKNOWN, "host silent"), host=host) for pk in rows)


def guest_record_password(guest: Guest, password: str) -> None:
    """The display's password of the next start; the console proxy answers it, nobody types it."""
    guest.display_password = password
    guest.save(update_fields=["display_password"])
