"""May this be done with a volume now? What its machine does, where it lies, who asks; each refusal says what to do."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.utils.translation import gettext as _

from portal.core.errors import Conflict, FieldError, Invalid, Missing
from tenants.actors import Actor
from tenants.policy import Permission
from vms.models import Guest, StorageClass, Volume
from vms.specs import DISK_MAX_GIB, NAME, VolumeSpec
from vms.states import HostState, ImageKind, ImageState, VolumeState

POSITIONS: Final = range(1, 25)
"""Places for data volumes: ``vdb`` to ``vdy``; ``vda`` is the first disk, ``vdz`` the seed."""
LIMIT_MAX: Final = 1_000_000


def volume_spec_check(spec: VolumeSpec) -> None:
    """Raise ``Invalid`` naming every field of ``spec`` that cannot be used."""
    errors = [*name_errors(spec.name), *size_errors(spec), *limit_errors(spec.storage_class, spec.iops, spec.mbps)]
    if errors:
        raise Invalid(errors=errors)


def name_errors(name: str) -> list[FieldError]:
    """What is wrong with a volume's name."""
    if NAME.match(name):
        return []
    return [FieldError("/name", "invalid_name", _("Use small letters, digits and hyphens, at most 63."))]


def size_errors(spec: VolumeSpec) -> list[FieldError]:
    """What is wrong with a size, and with the image that is to fit on it."""
    if not 1 <= spec.size_gib <= DISK_MAX_GIB:
        return [FieldError("/size_gib", "invalid_size", _("Between 1 and %d GiB.") % DISK_MAX_GIB)]
    if spec.storage_class is not None and not spec.storage_class.enabled:
        return [FieldError("/storage_class", "class_gone", _("This class is no longer offered."))]
    if spec.image is None:
        return []
    if spec.image.state != ImageState.READY:
        return [FieldError("/image", "image_not_ready", _("This image is not ready."))]
    if spec.image.kind != ImageKind.DISK:
        return [FieldError("/image", "image_no_disk", _("This image is a CD; no disk is made of it."))]
    if spec.size_gib < spec.image.min_disk_gib:
        message = _("This image needs a disk of %d GiB.") % spec.image.min_disk_gib
        return [FieldError("/size_gib", "disk_too_small", message)]
    return []


def limit_errors(
    storage_class: StorageClass | None, iops: int, mbps: int, *, guest: Guest | None = None
) -> list[FieldError]:
    """What is wrong with limits: a volume may be slower than its class and its machine's size allow, never faster."""
    flavor = guest.flavor if guest is not None else None
    bounds = {
        "iops": (iops, storage_class.iops if storage_class else 0, flavor.disk_iops if flavor else 0),
        "mbps": (mbps, storage_class.mbps if storage_class else 0, flavor.disk_mbps if flavor else 0),
    }
    errors = []
    for name, (wanted, *most) in bounds.items():
        top = min([LIMIT_MAX, *filter(None, most)])
        if not 0 <= wanted <= top:
            errors.append(FieldError(f"/{name}", "invalid_limit", _("Between 1 and %d, or 0 for no own limit.") % top))
    return errors


def require_reach(actor: Actor, guest: Guest | None) -> None:
    """Raise ``Forbidden`` where the actor may change only some machines, and not this one.

    Whoever may manage volumes may plug them into any machine of the project, unless tags narrow what they may change.
    """
    if not may_reach(actor, guest):
        actor.require(Permission.GUEST_EDIT, guest)


def may_reach(actor: Actor, guest: Guest | None) -> bool:
    """Would ``require_reach`` let them? Asks for the machine's tags of those alone whom tags narrow."""
    narrow = guest is not None and Permission.GUEST_EDIT in actor.tagged
    return not narrow or actor.may(Permission.GUEST_EDIT, guest)


def refuse_volume(volume: Volume) -> None:
    """Raise ``Conflict`` unless the volume is there and its host answers."""
    if volume.state != VolumeState.READY:
        raise Conflict(_("This volume is not ready."), code="volume_not_ready", state=volume.state, hint="")
    if volume.pool is not None and volume.pool.host.state != HostState.UP:
        raise Conflict(
            _("The storage of this volume does not answer."),
            code="host_silent",
            hint=_("Wait until its host is back. Nothing of it is lost."),
        )


def locked(volume: Volume) -> tuple[Volume, Guest | None]:
    """The volume and the machine it hangs on, read anew and locked: machine first, as everybody does it.

    Raises ``Conflict`` where it was plugged somewhere else in the meantime, ``Missing`` where it is gone.
    """
    guest = guest_locked(volume.guest_id) if volume.guest_id is not None else None
    rows = Volume.objects.select_for_update(of=("self",))
    fresh = rows.select_related("tenant", "storage_class", "image", "pool__host").filter(pk=volume.pk).first()
    if fresh is None:
        raise Missing
    if fresh.guest_id != volume.guest_id:
        raise Conflict(_("Something else is being done with this right now."), code="operation_in_progress", hint="")
    return fresh, guest


def guest_locked(pk: UUID | str) -> Guest:
    """A machine, read anew and locked, with what is asked of it here; raises ``Missing`` where it is gone."""
    rows = Guest.objects.select_for_update(of=("self",)).select_related("host", "tenant", "flavor")
    guest = rows.filter(pk=pk).first()
    if guest is None:
        raise Missing
    return guest


def refuse_root(volume: Volume, sentence: str) -> None:
    """Raise ``Conflict`` for a machine's first disk."""
    if volume.is_root:
        raise Conflict(sentence, code="root_volume", hint=_("It goes with the machine."))


def refuse_kept(volume: Volume, sentence: str) -> None:
    """Raise ``Conflict`` while a snapshot holds the volume; ``sentence`` says what that forbids."""
    kept = volume.kept_in.count()
    if kept:
        raise Conflict(sentence, code="has_snapshots", snapshots=kept, hint=_("Delete its snapshots first."))
