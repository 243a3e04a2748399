"""Images' copies on hosts: brought with the first need, whole or not at all; taken away when nothing stands on them."""

from __future__ import annotations

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Broken, Conflict
from vms.handlers.place import connect, host_words
from vms.hypervisor.driver import Hypervisor
from vms.models import Host, Image, ImageCopy
from vms.names import Owner, base_name, pool_name
from vms.selectors.installation import installation_owner
from vms.services.image_copies import copy_of, copy_record, refuse_standing
from vms.services.images import image_path


def ensure_copy(run: Run, hv: Hypervisor, host: Host, owner: Owner, image: Image) -> None:
    """The image in the host's pool, ready for disks to stand on; sent once, by one worker at a time.

    A copy that is not known to be whole (its worker died, or it is being taken away) is held first: raises ``Retry`` while
    another has it.
    """
    if is_whole(hv, copy_of(host, image), owner):
        return
    run.hold("image_copy", copy_of(host, image).pk)
    copy = copy_of(host, image)
    if is_whole(hv, copy, owner):
        return
    run.say(_("Copying the image to the host"), 5)
    source = image_path(image)
    if not source.exists():
        raise Broken(_("The file of this image is missing."), code="image_file_missing", detail=str(source))

    def progress(sent: int) -> None:
        run.tick(_("Copying the image to the host"), 5 + 40 * sent // max(1, image.size))

    pool, name = pool_name(owner), base_name(image.pk, image.sha256)
    with run.effect("image"):
        hv.upload_volume(pool, name, source, disk_format="qcow2", progress=progress)
        copy_record(copy, size=image.size)


def is_whole(hv: Hypervisor, copy: ImageCopy, owner: Owner) -> bool:
    """Was it sent to its end, and does it still lie there?"""
    return copy.ready_at is not None and hv.volume(pool_name(owner), copy.name) is not None


@handles("image.evict")
def evict(run: Run) -> None:
    """Take one copy off its host; refuses once a disk stands on it."""
    copy = ImageCopy.objects.select_related("host").filter(pk=run.operation.subject_id).first()
    if copy is not None:
        drop_copy(run, copy)


def drop_copy(run: Run, copy: ImageCopy) -> None:
    """Off the host, unless a row or a file there says that a disk stands on it. The caller's operation holds the copy."""
    refuse_standing(copy)
    pool = pool_name(installation_owner())
    with host_words(copy.host):
        hv = connect(copy.host)
        if hv.pool(pool) is None:
            return
        there = {volume.name: volume for volume in hv.volumes(pool)}
        if copy.name not in there:
            return
        above = [volume.name for volume in there.values() if volume.backing_path == there[copy.name].path]
        if above:
            raise Conflict(
                _("Disks stand on this copy."), code="copy_in_use", hint=_("Ask the operator."), detail=", ".join(above)
            )
        with run.effect("drop_copy"):
            hv.delete_volume(pool, copy.name)
