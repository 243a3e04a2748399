"""What going back to a backup would make of each disk, of the quota and of the price; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from django.db import transaction

from portal.core.errors import Forbidden, Invalid, PortalError
from tenants.actors import Actor
from tenants.services.quota import quota_foresee
from vms.models import Backup, Guest, Volume
from vms.selectors.prices import disks_price
from vms.services.backups.remove import backup_to_change
from vms.services.backups.verify import refuse_unready
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.create import Fit
from vms.services.putback.ask import KIND, machine_of
from vms.services.putback.plan import (
    KNOWS,
    Change,
    changes_of,
    cost_of,
    former_name,
    is_built_otherwise,
    pools_of,
    refuse_held,
    refuse_protected,
    refuse_running,
    refuse_unlike,
    today_of,
)
from vms.services.putback.twins import twins_of

Reasons = list[tuple[str, str]]


class Becomes(StrEnum):
    """What becomes of a place among the machine's disks."""

    REPLACED = "replaced"
    """The disk of the backup takes the place of the one that is there."""
    RETURNS = "returns"
    """The machine has no such disk any more: it gets it again."""
    STAYS = "stays"
    """The one that is there stays as it is."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one disk: at ``position`` of the machine there will be ``name``, ``size_gib`` large.

    ``former`` is what the disk is called that has to give way; empty where there is none, or it is deleted. ``twins`` are the
    places of disks that were made of this one, or it of them: their file systems have the same labels and ids.
    """

    becomes: Becomes
    position: int
    name: str
    size_gib: int
    former: str = ""
    twins: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Outlook:
    """Whether it would be done, and what it does: ``stops`` the machine, which is ``built_otherwise`` afterwards."""

    fit: Fit
    fates: tuple[Fate, ...]
    stops: bool = False
    built_otherwise: bool = False


@transaction.atomic
def put_back_foresee(
    backup: Backup,
    *,
    actor: Actor,
    disks: Collection[int] | None = None,
    stop: bool = False,
    keep: bool = True,
) -> Outlook:
    """The answer that ``backup_put_back`` would give. The price is that of the disks that come, while those of before are kept.

    Raises ``Forbidden``, or ``Conflict`` where the machine is gone.
    """
    guest = machine_of(backup, actor)
    backup = backup_to_change(backup)
    reasons: Reasons = []
    changes: list[Change] = []
    _try(reasons, lambda: refuse_unready(backup))
    _try(reasons, lambda: refuse_unless_allowed(guest, KIND, actor))
    _try(reasons, lambda: refuse_running(guest, stop=stop))
    _try(reasons, lambda: refuse_protected(guest, keep=keep))
    _try(reasons, lambda: changes.extend(changes_of(backup, guest, disks)))
    _try(reasons, lambda: refuse_unlike(changes, guest, backup))
    _try(reasons, lambda: refuse_held(changes, guest, keep=keep))
    _try(reasons, lambda: pools_of(changes, guest))
    lines = quota_foresee(guest.tenant, cost_of(changes, guest)) if changes else []
    reasons += [("over_quota", line.refusal().sentence) for line in lines if line.is_short]
    price = disks_price([(change.size_gib, change.storage_class.name) for change in changes])
    return Outlook(
        fit=Fit(not reasons, reasons, lines, 0, price),
        fates=tuple(_fates(backup, changes, guest, keep=keep)),
        stops=guest.seen_power in KNOWS,
        built_otherwise=is_built_otherwise(backup, guest) and any(change.position == 0 for change in changes),
    )


def _fates(backup: Backup, changes: list[Change], guest: Guest, *, keep: bool) -> list[Fate]:
    today, fates = today_of(guest), []
    twins = twins_of(backup, guest, changes) if changes else {}
    for change in changes:
        becomes = Becomes.REPLACED if change.present is not None else Becomes.RETURNS
        former = former_name(change.present, guest, today) if change.present is not None and keep else ""
        fates.append(Fate(becomes, change.position, change.name, change.size_gib, former))
    others = Volume.objects.filter(guest=guest).exclude(position__in=[change.position for change in changes])
    fates += [Fate(Becomes.STAYS, volume.position, volume.name, volume.size_gib) for volume in others]
    fates = [replace(fate, twins=tuple(twins.get(fate.position, ()))) for fate in fates]
    return sorted(fates, key=lambda fate: fate.position)


def _try(reasons: Reasons, deed: Callable[[], object]) -> None:
    try:
        deed()
    except Forbidden:
        raise
    except Invalid as error:
        reasons += [(fault.code, fault.message) for fault in error.errors]
    except PortalError as error:
        reasons.append((error.code, error.sentence))
