"""REST: what is made of disks as they were at one moment."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Router, Status
from pydantic import Field, StrictBool, StrictInt

from operations.api import OperationOut, accepted
from portal.core.bodies import Body
from portal.core.errors import FieldError
from portal.core.etags import find
from tenants.types import HttpRequest
from vms.api.fit import FitOut, fit_out
from vms.api.pick import pick, pick_all, refuse
from vms.models import Flavor, Guest, Network, Snapshot, SshKey, StorageClass
from vms.selectors.guests import guests_visible
from vms.selectors.snapshots import snapshots_visible
from vms.services.copies import (
    CloneSpec,
    guest_clone,
    guest_clone_fit,
    image_capture,
    image_capture_fit,
    snapshot_to_volume,
    snapshot_volume_fit,
)
from vms.services.guests.create import Fit
from vms.services.volumes.check import POSITIONS

router = Router(tags=["snapshots"])
POSITION_MAX = max(POSITIONS)


class SnapshotVolumeIn(Body):
    """A volume to be made of one disk of a snapshot; things are named by id or name."""

    name: str = Field(max_length=63)
    position: StrictInt | None = Field(
        default=None,
        ge=0,
        le=POSITION_MAX,
        description="Which disk, by its place in the machine; the first if left out.",
    )
    storage_class: str = Field(default="", max_length=40, description="That of the disk where empty.")
    guest: str = Field(default="", max_length=63, description="The machine that it is plugged into.")


class CloneIn(Body):
    """Another machine like this one; what is left out is as with it. Things are named by id or name."""

    name: str = Field(max_length=63)
    snapshot: str = Field(default="", max_length=63, description="As it was then; as it is now where empty.")
    flavor: str = Field(default="", max_length=40)
    networks: list[str] = Field(default=[], max_length=16, description="With a card and an address of its own on each.")
    ssh_keys: list[str] = Field(
        default=[], max_length=50, description="Let in besides those on its disk; none are taken over."
    )
    tags: list[str] | None = Field(default=None, max_length=20)
    volumes: list[StrictInt] | None = Field(
        default=None,
        max_length=POSITION_MAX,
        description="Further disks that are copied, by their places; all if left out.",
    )
    start: StrictBool = True


class GuestImageIn(Body):
    """An image to be made of one of a machine's disks. All that is on it is in the image, secrets and host keys, too."""

    name: str = Field(max_length=100)
    os_version: str | None = Field(default=None, max_length=40, description="That of the machine's image if left out.")
    position: StrictInt | None = Field(
        default=None,
        ge=0,
        le=POSITION_MAX,
        description="Which disk, by its place in the machine; the first if left out.",
    )


def _guest(request: HttpRequest, guest_id: str) -> Guest:
    return find(request, guests_visible(request.actor), guest_id)


@router.post(
    "/guests/{guest_id}/clone", response={202: OperationOut, 200: FitOut}, exclude_unset=True, summary="Clone a guest"
)
def guest_clone_post(
    request: HttpRequest, guest_id: str, response: HttpResponse, body: CloneIn, dry_run: bool = False
) -> Status[OperationOut] | Status[FitOut]:
    """Another machine of what its disks hold, with addresses and an identity of its own; the operation's subject is that one.

    Without `snapshot` one is taken for it, which is the only moment it is held, and goes afterwards. It is built as this one
    is, but what UEFI and a TPM remember is not copied: a disk that is sealed with the TPM needs its recovery key. `dry_run` says
    whether it fits.
    """
    guest, actor = _guest(request, guest_id), request.actor
    errors: list[FieldError] = []
    kept = snapshots_visible(actor).filter(guest=guest)
    spec = CloneSpec(
        name=body.name,
        snapshot=pick(kept, body.snapshot, "/snapshot", errors) if body.snapshot else None,
        flavor=pick(Flavor.objects.all(), body.flavor, "/flavor", errors) if body.flavor else None,
        networks=pick_all(Network.objects.all(), body.networks, "/networks", errors),
        ssh_keys=pick_all(SshKey.objects.all(), body.ssh_keys, "/ssh_keys", errors),
        tags=tuple(body.tags) if body.tags is not None else None,
        volumes=frozenset(body.volumes) if body.volumes is not None else None,
        start=body.start,
    )
    refuse(errors)
    if dry_run:
        return Status(200, fit_out(guest_clone_fit(guest, spec, actor=actor)))
    return accepted(request, response, guest_clone(guest, spec, actor=actor))


@router.post(
    "/guests/{guest_id}/image",
    response={202: OperationOut, 200: FitOut},
    exclude_unset=True,
    summary="Make an image of a guest",
)
def guest_image_post(
    request: HttpRequest, guest_id: str, response: HttpResponse, body: GuestImageIn, dry_run: bool = False
) -> Status[OperationOut] | Status[FitOut]:
    """One of its disks as it is now, as an image of this project; the operation's subject is the image.

    A snapshot is taken for it, which goes afterwards. `dry_run` says the most that it may take.
    """
    return _image(request, response, _guest(request, guest_id), body, dry_run=dry_run)


def _image(
    request: HttpRequest, response: HttpResponse, of: Guest | Snapshot, body: GuestImageIn, *, dry_run: bool
) -> Status[OperationOut] | Status[FitOut]:
    if dry_run:
        fit = image_capture_fit(of, actor=request.actor, name=body.name, position=body.position)
        return Status(200, fit_out(fit))
    return accepted(request, response, image_capture(of, actor=request.actor, **body.model_dump()))


@router.post(
    "/snapshots/{snapshot_id}/image",
    response={202: OperationOut, 200: FitOut},
    exclude_unset=True,
    summary="Make an image of a snapshot",
)
def snapshot_image_post(
    request: HttpRequest, snapshot_id: str, response: HttpResponse, body: GuestImageIn, dry_run: bool = False
) -> Status[OperationOut] | Status[FitOut]:
    """One of its disks as it was, as an image of this project; the operation's subject is the image."""
    return _image(request, response, _snapshot(request, snapshot_id), body, dry_run=dry_run)


def _snapshot(request: HttpRequest, snapshot_id: str) -> Snapshot:
    reach = snapshots_visible(request.actor)
    return find(request, Snapshot.objects.filter(pk__in=reach.values("pk")), snapshot_id)


@router.post(
    "/snapshots/{snapshot_id}/volume",
    response={202: OperationOut, 200: FitOut},
    exclude_unset=True,
    summary="Make a volume of a snapshot",
)
def snapshot_volume_post(
    request: HttpRequest, snapshot_id: str, response: HttpResponse, body: SnapshotVolumeIn, dry_run: bool = False
) -> Status[OperationOut] | Status[FitOut]:
    """One of its disks as it was, as a volume that stands by itself; the machine goes on meanwhile. Until the copy is whole the
    snapshot is neither reverted to nor deleted. The operation's subject is the volume. `dry_run` says what it would cost.
    """
    snapshot = _snapshot(request, snapshot_id)
    errors: list[FieldError] = []
    machines = guests_visible(request.actor).filter(binned_at=None)
    guest = pick(machines, body.guest, "/guest", errors) if body.guest else None
    classes = StorageClass.objects.all()
    chosen = pick(classes, body.storage_class, "/storage_class", errors) if body.storage_class else None
    refuse(errors)
    service = snapshot_volume_fit if dry_run else snapshot_to_volume
    done = service(
        snapshot, actor=request.actor, name=body.name, position=body.position, guest=guest, storage_class=chosen
    )
    return Status(200, fit_out(done)) if isinstance(done, Fit) else accepted(request, response, done)
