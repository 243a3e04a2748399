"""What making or extending a volume would take, and whether it fits; said before it is asked for, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from django.db import transaction
from django.utils.translation import gettext as _

from portal.core.errors import Invalid, PortalError
from tenants.actors import Actor
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.services.quota import Kind, Line, kind_of, quota_foresee
from vms.models import Guest, Volume
from vms.selectors.prices import item_price
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.create import Fit
from vms.services.volumes.check import locked, refuse_volume, require_reach, volume_spec_check
from vms.services.volumes.create import default_class, guest_for, pool_choose, pool_needs
from vms.services.volumes.record import guest_with, volume_cost, volume_room
from vms.specs import DISK_MAX_GIB, VolumeSpec

Reasons = list[tuple[str, str]]


@transaction.atomic
def volume_fit(tenant: Tenant, spec: VolumeSpec, *, actor: Actor) -> Fit:
    """The answer that ``volume_create`` would give, and how many more of the same would fit after that."""
    actor.require(Permission.VOLUME_MANAGE)
    chosen = spec.storage_class or default_class()
    spec = replace(spec, storage_class=chosen)
    reasons: Reasons = []
    _try(reasons, lambda: volume_spec_check(spec))
    guest: list[Guest | None] = []
    _try(reasons, lambda: guest.append(guest_for(spec, actor)))
    machine = guest[0] if guest else None
    cost = volume_cost(chosen, spec.size_gib)
    lines = quota_foresee(tenant, cost | guest_with(machine, volumes=1, size_gib=spec.size_gib))
    reasons += _short(lines)
    _try(reasons, lambda: pool_choose(chosen, spec.size_gib, guest=machine, can=pool_needs(spec)))
    price = item_price("disk_gib", spec.size_gib, chosen.name)
    return Fit(not reasons, reasons, lines, 0 if reasons else _more(lines, cost), price)


@transaction.atomic
def extend_fit(volume: Volume, *, size_gib: int, actor: Actor) -> Fit:
    """The answer that ``volume_extend`` would give, and how many GiB more would fit after that."""
    actor.require(Permission.VOLUME_MANAGE, volume)
    require_reach(actor, volume.guest)
    volume, guest = locked(volume)
    reasons: Reasons = []
    more = max(0, size_gib - volume.size_gib)
    if not volume.size_gib < size_gib <= DISK_MAX_GIB:
        words = {"least": volume.size_gib, "most": DISK_MAX_GIB}
        message = _("A volume only grows: more than %(least)d, at most %(most)d GiB.") % words
        reasons.append(("invalid_size", message))
    if guest is not None:
        _try(reasons, lambda: refuse_unless_allowed(guest, "volume.extend", actor))
    _try(reasons, lambda: refuse_volume(volume))
    lines = quota_foresee(
        volume.tenant, volume_room(volume.storage_class, more) | guest_with(guest, volumes=0, size_gib=more)
    )
    reasons += _short(lines)
    price = item_price("disk_gib", max(size_gib, volume.size_gib), volume.storage_class.name)
    return Fit(not reasons, reasons, lines, 0 if reasons else _more(lines, volume_room(volume.storage_class, 1)), price)


def _try(reasons: Reasons, deed: Callable[[], object]) -> None:
    try:
        deed()
    except Invalid as error:
        reasons += [(fault.code, fault.message) for fault in error.errors] or [(error.code, error.sentence)]
    except PortalError as error:
        reasons.append((error.code, error.sentence))


def _short(lines: list[Line]) -> Reasons:
    return [("over_quota", line.refusal().sentence) for line in lines if line.is_short]


def _more(lines: list[Line], each: Mapping[str, int]) -> int:
    left = [
        (line.limit - line.after) // each[line.name]
        for line in lines
        if line.limit is not None and each.get(line.name) and kind_of(line.name) != Kind.EACH
    ]
    return max(0, min(left, default=0))
