"""Other disks under a machine: a fresh first one, or one to rescue it from. Each is whole before anything else changes."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from vms.handlers.guests import (
    drop_file,
    drop_firmware,
    drop_volume,
    ensure_discs,
    ensure_disk,
    ensure_networks,
    ensure_pool,
    ensure_seed,
    reached,
    root_scrub,
    write_seed,
)
from vms.handlers.image_copies import ensure_copy
from vms.handlers.place import at
from vms.models import Spare, Volume
from vms.models.spares import SpareRole
from vms.names import pool_name, volume_name
from vms.reconcile.converge import Place, apply, converge, define, observe, step_words
from vms.reconcile.plan import Seen, Step, Want, plan
from vms.services.guests.rescue import rescue_record
from vms.services.guests.spares import spare_become_root, spare_forget, spare_of, spares_left
from vms.services.volumes.record import volume_doom
from vms.services.volumes.settle import volume_forget
from vms.states import Power


@handles("guest.rebuild")
def rebuild(run: Run) -> None:
    """A fresh disk beside the old one, then the old machine off, then the fresh disk in its place."""
    with at(run) as place:
        fresh = spare_of(place.guest, SpareRole.FRESH)
        if fresh is not None:
            drop(run, place, spare_of(place.guest, SpareRole.WORN))
            make(run, place, fresh)
            ensure_off(run, place)
            forget_old_system(run, place)
            write_seed(run, place)
            spare_become_root(place.guest)
            place.guest.refresh_from_db()
        reached(stand(run, place), place.guest)
        tidy_up(run, place)


@handles("guest.rescue")
def rescue(run: Run) -> None:
    """The rescue disk beside the machine's own, then the machine off, then on from it."""
    with at(run) as place:
        disk = spare_of(place.guest, SpareRole.RESCUE)
        if disk is not None and not place.guest.in_rescue:
            make(run, place, disk)
            ensure_off(run, place)
            rescue_record(place.guest, on=True)
            place.guest.refresh_from_db()
        reached(stand(run, place), place.guest)


@handles("guest.unrescue")
def unrescue(run: Run) -> None:
    """Off, its own definition back, on if it was on; then the rescue disk goes."""
    with at(run) as place:
        if place.guest.in_rescue:
            ensure_off(run, place)
            rescue_record(place.guest, on=False)
            place.guest.refresh_from_db()
        reached(stand(run, place), place.guest)
        tidy_up(run, place)


@handles("guest.tidy")
def tidy(run: Run) -> None:
    """Remove the disks that are left over; the machine is not touched."""
    with at(run) as place:
        tidy_up(run, place)
        drop_alone(run, place, run.params.get("volumes", ()))


def make(run: Run, place: Place, spare: Spare) -> None:
    """The spare disk, whole, in the host's pool."""
    assert spare.image is not None
    ensure_pool(run, place)
    ensure_copy(run, place.hv, place.host, place.owner, spare.image)
    run.say(_("Making the disk"), 50)
    ensure_disk(run, place, spare.pk, spare.image, capacity=spare.capacity, effect="spare")


def ensure_off(run: Run, place: Place) -> None:
    """Off, without asking the guest; a saved memory goes, too. What is defined of this very wish is left alone.

    A worker that froze here would otherwise pull the plug of what its successor has started.
    """
    for step in plan(Want(Power.STOPPED, place.guest.want_generation), observe(place)):
        if step == Step.DEFINE:
            continue
        run.say(step_words(step), 60)
        with run.effect(step.value):
            if observe(place).generation < place.guest.want_generation:
                apply(place, step)
    observe(place)


def forget_old_system(run: Run, place: Place) -> None:
    """What the old disk's system told UEFI and TPM is no business of the fresh one's; the machine stays defined."""
    if drop_firmware(run, place):
        with run.effect("define_fresh"):
            define(place)


def stand(run: Run, place: Place) -> Seen:
    """Defined as its rows say now, and doing what is wanted."""
    ensure_discs(run, place)
    if place.guest.want_power == Power.RUNNING:
        ensure_seed(run, place)
        ensure_networks(run, place)
        return converge(run, place)
    with run.effect("define"):
        define(place)
    return observe(place)


def tidy_up(run: Run, place: Place) -> None:
    """No spare disk is left that nobody needs."""
    place.guest.refresh_from_db(fields=["in_rescue"])
    for spare in spares_left(place.guest):
        drop(run, place, spare)


def drop_alone(run: Run, place: Place, ids: Iterable[UUID | str]) -> None:
    """These volumes, which hang on no machine, go with their files; the operation holds them."""
    for volume in Volume.objects.select_related("tenant", "storage_class", "pool__host").filter(pk__in=ids, guest=None):
        run.say(_("Deleting its disks"), 95)
        with transaction.atomic():
            run.check()
            volume_doom(volume)
        drop_volume(run, place, volume)
        with transaction.atomic():
            run.check()  # a worker that thaws after another did it would return the quota twice
            volume_forget(volume)


def drop(run: Run, place: Place, spare: Spare | None) -> None:
    """Its file is gone, and then its row."""
    if spare is None:
        return
    run.say(_("Deleting its disks"), 90)
    drop_file(run, place, pool_name(place.owner), volume_name(spare.pk), scrub=root_scrub(place.guest))
    spare_forget(spare)
