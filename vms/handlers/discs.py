"""CDs in a machine's drives, now and for its next start."""

from __future__ import annotations

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import LeaseLost, Run
from portal.core.errors import Conflict
from vms import design
from vms.handlers.image_copies import ensure_copy
from vms.handlers.place import at
from vms.hypervisor import errors
from vms.models import Disc
from vms.reconcile.converge import Place, define


@handles("guest.insert")
def insert(run: Run) -> None:
    """The image on the host, then in the drive; of a machine that is off the definition is written anew."""
    with at(run) as place:
        disc = Disc.objects.select_related("image").filter(pk=run.params["disc"]).first()
        if disc is None:
            raise Conflict(_("The CD is out again."), code="gone", hint="")
        ensure_copy(run, place.hv, place.host, place.owner, disc.image)
        run.say(_("Inserting the CD"), 70)
        wanted = design.disc_in(disc, place.guest, place.host)
        with run.effect("insert"):
            _refuse_over(disc)
            try:
                roots = design.roots(place.host)
                place.hv.insert_disc(str(place.guest.pk), wanted, owner=place.owner, roots=roots)
            except errors.NoSlot as error:
                raise Conflict(
                    _("The machine was started without CD drives."),
                    code="no_drive",
                    hint=_("Stop it and start it again: then it has them."),
                    detail=error.detail,
                ) from error
        ensure_kept(run, place, wanted.path)


def ensure_kept(run: Run, place: Place, path: str) -> None:
    """The definition of the next start has the CD; one from before there were drives is written anew where it does not run."""
    seen = place.hv.disks(str(place.guest.pk))
    if seen.live is None and all(disk.path != path for disk in seen.kept):
        with run.effect("define"):
            define(place)


@handles("guest.eject")
def eject(run: Run) -> None:
    """Nothing in the drive. A system that keeps the tray locked is asked once, unless it is to be forced."""
    with at(run) as place:
        disc = Disc.objects.filter(pk=run.params["disc"]).first()
        if disc is None:
            return
        uuid, target = str(place.guest.pk), design.drive_target(disc.drive)
        run.say(_("Ejecting the CD"), 50)
        with run.effect("eject"):
            _refuse_over(disc)
            try:
                place.hv.eject_disc(uuid, target, owner=place.owner, force=run.params["force"])
            except errors.Busy as error:
                raise Conflict(
                    _("The machine's system keeps the tray of this drive locked."),
                    code="tray_locked",
                    hint=_("Unmount the CD there, or eject it by force: what is being read from it then fails."),
                    detail=error.detail,
                ) from error


def _refuse_over(disc: Disc) -> None:
    """Raise ``LeaseLost`` where the CD is out, as of now: a worker that froze would otherwise touch what lies there next."""
    if not Disc.objects.filter(pk=disc.pk).exists():
        raise LeaseLost
