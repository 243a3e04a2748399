"""Observe → plan → apply, for one guest on one host. Repeating it is harmless, wherever the last attempt ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from django.db.models import Max
from django.utils.translation import gettext as _

from portal.core.clock import now
from portal.core.errors import Conflict
from vms import design
from vms.engines import engine_at
from vms.guards import ports_wanted
from vms.hypervisor.driver import Hypervisor, SeenDomain
from vms.hypervisor.engines import NetworkEngine
from vms.hypervisor.errors import Unsupported
from vms.models import Disc, Flavor, Guest, Host, Port, Spare, Volume
from vms.models.spares import SpareRole
from vms.names import Owner, serial_log
from vms.reconcile.counting import cards_count
from vms.reconcile.plan import Seen, Step, Want, plan
from vms.services.guests.observe import Observation, guest_record_observation, guest_record_password
from vms.services.hosts import host_record_unenforced
from vms.states import Power, VolumeState


class Steps(Protocol):
    """What a run offers: a guarded effect and a word to the customer."""

    def effect(self, name: str) -> AbstractContextManager[None]: ...
    def say(self, step: str, progress: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """A guest on its host, with the connection to it and who we are there."""

    guest: Guest
    host: Host
    hv: Hypervisor
    owner: Owner

    @property
    def net(self) -> NetworkEngine:
        """What carries the packets there."""
        return engine_at(self.host, self.hv, self.owner)


def seen_of(domain: SeenDomain | None, owner: Owner) -> Seen:
    """A domain as ``plan`` sees it; somebody else's under our uuid is a conflict, never ours to change."""
    if domain is None:
        return Seen(Power.ABSENT)
    if domain.owner is None or domain.owner.installation != owner.installation:
        raise Conflict(
            _("The host has a foreign machine in this one's place."),
            code="foreign_domain",
            hint=_("Ask the operator."),
            detail=f"domain {domain.uuid} belongs to {domain.owner}",
        )
    return Seen(domain.power, domain.generation)


def observe(place: Place) -> Seen:
    """Look, and write down what was seen."""
    began = now()
    domain = place.hv.domain(str(place.guest.pk))
    seen = seen_of(domain, place.owner)
    record(place, domain, seen, at=began)
    return seen


def record(place: Place, domain: SeenDomain | None, seen: Seen, *, at: datetime) -> None:
    """Write an observation of this place's guest; ``at`` is when the look began, so that what happened since is newer."""
    display = None
    if domain is not None and seen.power in (Power.RUNNING, Power.PAUSED):
        display = display_of(domain, place.host)
    guest_record_observation(
        place.guest.pk,
        Observation(seen.power, domain.reason if domain else "", seen.generation or None, display, at=at),
        host=place.host,
    )


def guest_id(domain: SeenDomain, owner: Owner) -> UUID | None:
    """Which guest of ours a domain is; None for a foreign one, one of another epoch, and a host test's throw-away one."""
    if domain.owner != owner:
        return None
    try:
        return UUID(domain.guest)
    except ValueError:
        return None


def display_of(domain: SeenDomain, host: Host) -> dict[str, str]:
    """Where the guest's screen and serial line listen, for the console proxy beside them."""
    return {
        "vnc": domain.vnc_socket,
        "serial": domain.serial_socket,
        "log": f"{host.data_dir}/pool/{serial_log(UUID(domain.guest))}",
    }


def converge(run: Steps, place: Place, *, progress: int = 70) -> Seen:
    """Take the guest to what is wanted of it, one effect at a time, and return what is seen then."""
    seen = observe(place)
    want = Want(Power(place.guest.want_power), place.guest.want_generation)
    for number, step in enumerate(plan(want, seen)):
        run.say(step_words(step), min(95, progress + 8 * number))
        with run.effect(step.value):
            apply(place, step)
    return observe(place)


def apply(place: Place, step: Step) -> None:
    """Do one step; the caller guards it as an effect."""
    _appliers(place)[step]()


def step_words(step: Step) -> str:
    """What a customer reads while a step is done."""
    return {
        Step.DEFINE: _("Preparing the machine"),
        Step.START: _("Starting"),
        Step.RESUME: _("Resuming"),
        Step.PAUSE: _("Pausing"),
        Step.SAVE: _("Saving memory to disk"),
        Step.FORGET_SAVE: _("Dropping the saved memory"),
        Step.PULL: _("Powering off"),
        Step.UNDEFINE: _("Taking it off the host"),
    }[step]


def _appliers(place: Place) -> dict[Step, Callable[[], None]]:
    hv, uuid = place.hv, str(place.guest.pk)
    return {
        Step.DEFINE: lambda: define(place),
        Step.START: lambda: _start(place),
        Step.RESUME: lambda: hv.resume(uuid),
        Step.PAUSE: lambda: hv.pause(uuid),
        Step.SAVE: lambda: _counted(place, hv.save),
        Step.FORGET_SAVE: lambda: hv.discard_save(uuid),
        Step.PULL: lambda: _counted(place, hv.pull_plug),
        Step.UNDEFINE: lambda: hv.undefine(uuid, owner=place.owner, keep_firmware=True),
    }


def _counted(place: Place, end: Callable[[str], None]) -> None:
    """End this run of the machine, once what its cards have carried in it is written down."""
    cards_count(place, is_last=True)
    end(str(place.guest.pk))


def define(place: Place) -> None:
    """Write the definition anew, with a new display password, as the guest's rows say now.

    Without a disk whose deletion is not over: its file may be gone or wiped, and the machine could not start with it.
    """
    password = design.display_password()
    guest_record_password(place.guest, password)
    rows = Volume.objects.filter(guest=place.guest).exclude(state=VolumeState.DELETING)
    volumes = list(rows.select_related("image", "pool", "storage_class").order_by("position"))
    discs = list(Disc.objects.filter(guest=place.guest).select_related("image"))
    ports = ports_wanted(Port.objects.filter(guest=place.guest)).order_by("position")
    spec = design.domain_spec(
        place.guest,
        place.host,
        place.owner,
        volumes=volumes,
        nics=[design.nic(port, place.guest, place.host, place.owner, place.net) for port in ports],
        discs=discs,
        password=password,
        room=_room(),
        rescue=_rescue(place.guest),
    )
    place.hv.define(spec, roots=design.roots(place.host))


def _rescue(guest: Guest) -> Spare | None:
    if not guest.in_rescue:
        return None
    return Spare.objects.select_related("image").get(guest=guest, role=SpareRole.RESCUE)


def _room() -> design.Room:
    offered = Flavor.objects.filter(enabled=True).aggregate(v=Max("vcpus"), m=Max("memory_mib"))
    return design.Room(offered["v"] or 0, offered["m"] or 0)


def _start(place: Place) -> None:
    """Start; a limit that turns out not to be enforceable is written on the host's page and left out, once each."""
    for _attempt in range(4):
        try:
            place.hv.start(str(place.guest.pk))
            return
        except Unsupported as error:
            if error.feature not in ("bandwidth", "cputune", "iotune") or error.feature in place.host.unenforced:
                raise
            host_record_unenforced(place.host, error.feature)
            place.host.refresh_from_db(fields=["unenforced"])
            define(place)
