"""REST: what is in a backup comes back, as a new machine, as a volume, or in its own machine's place."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpResponse
from ninja import Router, Status
from pydantic import BaseModel, Field, StrictBool, StrictInt

from operations.api import OperationOut, accepted
from portal.core.bodies import Body
from portal.core.errors import FieldError
from portal.core.etags import find
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.fit import FitOut, fit_out
from vms.api.pick import pick, pick_all, refuse
from vms.models import Flavor, Network, SshKey
from vms.selectors.backups import backups_visible
from vms.selectors.guests import guests_visible
from vms.services.backups import (
    RestoredGuest,
    RestoredVolume,
    backup_restore_fit,
    backup_restore_guest,
    backup_restore_volume,
)
from vms.services.putback import Becomes, Fate, Outlook, backup_put_back, put_back_foresee

router = Router(tags=["backups"])


class RestoreIn(Body):
    """What a backup is to become: a new machine of all its disks, a volume of one of them, or its own machine as it was."""

    to: Literal["guest", "volume", "in_place"]
    name: str = Field(default="", max_length=63, description="Of what is made; nothing is named `in_place`.")
    flavor: str = Field(default="", max_length=40, description="A machine's size; the former one's where empty.")
    networks: list[str] = Field(default=[], max_length=16, description="A machine's; the default network where empty.")
    ssh_keys: list[str] = Field(default=[], max_length=50)
    tags: list[str] = Field(default=[], max_length=20, description="A machine's.")
    start: StrictBool = True
    position: StrictInt = Field(default=0, ge=0, le=24, description="A volume: of which disk.")
    guest: str = Field(default="", max_length=63, description="A volume: the machine that it is plugged into.")
    disks: list[StrictInt] | None = Field(
        default=None, max_length=25, description="In place: which disks of the backup, by `position`; all if left out."
    )
    stop: StrictBool = Field(
        default=False,
        description="In place: a machine that is not off is switched off for it, without asking it, once all is ready; "
        "one that ran is started again. Otherwise it is refused with `not_off`.",
    )
    keep_disks: StrictBool = Field(
        default=True, description="In place: what the disks are now stays, as volumes of their own; else it is deleted."
    )


class FateOut(BaseModel):
    """What becomes of one disk of the machine."""

    position: int
    becomes: Becomes = Field(
        description="`replaced` by the one of the backup, `returns` if the machine has it no more, or `stays` as it is."
    )
    name: str
    size_gib: int
    former: str | None = Field(description="What the disk that gives way is called then; null if none is kept.")
    twins: list[int] = Field(
        default=[],
        description="By `position`: disks that this one was made of, or they of it. Their file systems have the same labels and "
        "ids, so the machine's system may take one for the other: detach what stays first.",
    )


class RestoreFitOut(FitOut):
    """Would it be done? Nothing was changed."""

    disks: list[FateOut] = Field(default=[], description="In place: what becomes of each disk.")
    stops: bool = Field(default=False, description="In place: is the machine switched off for it?")
    built_otherwise: bool = Field(
        default=False,
        description="In place: was it built otherwise then (firmware, TPM, bus, cards)? Then it is so again.",
    )


def _fate_out(fate: Fate) -> FateOut:
    return FateOut(
        position=fate.position,
        becomes=fate.becomes,
        name=fate.name,
        size_gib=fate.size_gib,
        former=fate.former or None,
        twins=list(fate.twins),
    )


def _outlook_out(outlook: Outlook) -> RestoreFitOut:
    return RestoreFitOut(
        **fit_out(outlook.fit).model_dump(),
        disks=[_fate_out(fate) for fate in outlook.fates],
        stops=outlook.stops,
        built_otherwise=outlook.built_otherwise,
    )


@router.post(
    "/backups/{backup_id}/restore",
    response={202: OperationOut, 200: RestoreFitOut},
    exclude_unset=True,
    summary="Restore a backup",
)
def backup_restore_post(
    request: HttpRequest, backup_id: str, response: HttpResponse, body: RestoreIn, dry_run: bool = False
) -> Status[OperationOut] | Status[RestoreFitOut]:
    """As a new machine with addresses of its own, one disk as a volume, or in place.

    The operation's subject is what is made, or in place the machine. In place its disks are made beside the present ones, and
    take their places together once all are whole: until then nothing of the machine is changed, and it can be called off. Its
    system finds them under the same serials; name, size, addresses, tags and volumes that the backup does not know stay. It is
    refused while snapshots hold the disks. `dry_run` says what becomes of each disk, of the quota, and what it costs.
    """
    actor = request.actor
    actor.require(Permission.BACKUP_MANAGE)
    backup = find(request, backups_visible(actor), backup_id)
    if body.to == "in_place":
        words: dict[str, Any] = {"disks": body.disks, "stop": body.stop, "keep": body.keep_disks}
        if dry_run:
            return Status(200, _outlook_out(put_back_foresee(backup, actor=actor, **words)))
        return accepted(request, response, backup_put_back(backup, actor=actor, **words))
    spec = _guest(request, body) if body.to == "guest" else _volume(request, body)
    if dry_run:
        return Status(200, _outlook_out(Outlook(backup_restore_fit(backup, spec, actor=actor), ())))
    if isinstance(spec, RestoredGuest):
        return accepted(request, response, backup_restore_guest(backup, spec, actor=actor))
    return accepted(request, response, backup_restore_volume(backup, spec, actor=actor))


def _guest(request: HttpRequest, body: RestoreIn) -> RestoredGuest:
    """The body with its words turned into rows; raises ``Invalid`` with every word that names nothing."""
    errors: list[FieldError] = []
    spec = RestoredGuest(
        name=body.name,
        flavor=pick(Flavor.objects.all(), body.flavor, "/flavor", errors) if body.flavor else None,
        networks=pick_all(Network.objects.all(), body.networks, "/networks", errors),
        ssh_keys=pick_all(SshKey.objects.all(), body.ssh_keys, "/ssh_keys", errors),
        tags=tuple(body.tags),
        start=body.start,
    )
    refuse(errors)
    return spec


def _volume(request: HttpRequest, body: RestoreIn) -> RestoredVolume:
    errors: list[FieldError] = []
    machines = guests_visible(request.actor).filter(binned_at=None)
    guest = pick(machines, body.guest, "/guest", errors) if body.guest else None
    refuse(errors)
    return RestoredVolume(name=body.name, position=body.position, guest=guest)
