"""Test boots of images: asked for, given room on a host when their turn comes, judged by what the serial line said.

Everything that comes back is the image's own word: cut, cleaned, shown, and it decides nothing but the sentence beside it.
"""

from __future__ import annotations

import re
from typing import Final

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.clock import now
from portal.core.errors import Conflict
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from vms.models import Image, ImageTest, Installation
from vms.models.image_tests import Verdict
from vms.placement import Need
from vms.services.images import image_require, image_told
from vms.services.placing import hosts_could_take, hosts_take, lineage_of
from vms.states import ImageKind, ImageState

log = structlog.get_logger(__name__)
MEMORY_LEAST_MIB: Final = 256
"""What firmware and a rescue shell get along with; an image that needs more says so."""
SIGNS: Final = (
    (Verdict.PANIC, re.compile(r"Kernel panic - not syncing", re.ASCII)),
    (
        Verdict.EMERGENCY,
        re.compile(r"You are in emergency mode|Entering emergency mode|^\(initramfs\) ", re.M | re.ASCII),
    ),
    (Verdict.LOGIN, re.compile(r"^[^\n]{0,100}\blogin: *$", re.M | re.I)),
    (Verdict.NOTHING, re.compile(r"^Shell> *$|UEFI Interactive Shell|No bootable (device|option)", re.M | re.ASCII)),
)
"""What a serial line says when a boot has come to its end, by agetty, Linux, dracut, initramfs-tools and EDK II; worst first."""


@transaction.atomic
def image_test(image: Image, *, actor: Actor) -> Operation:
    """Have an image started once on a host with room for it, without a network; what was seen stays as its ``ImageTest``.

    It takes room of a host when its turn comes (``image_test_place``): what waits keeps none from machines. Raises ``Conflict``
    where it is no disk that is ready or another of its tenant's is being tried, ``NoRoom`` where no host has room even now.
    """
    image_require(image, actor)
    image = Image.objects.select_for_update(no_key=True, of=("self",)).select_related("tenant").get(pk=image.pk)
    if image.kind != ImageKind.DISK or image.state not in (ImageState.READY, ImageState.DEPRECATED):
        raise Conflict(_("Only a disk that is ready can be started."), code="image_not_ready", hint="")
    if ImageTest.objects.filter(image=image, ended_at=None).exists():
        raise Conflict(
            _("What was left of the last time is still being removed."), code="being_tidied", hint=_("Try again soon.")
        )
    memory_mib, disk_gib = max(MEMORY_LEAST_MIB, image.min_memory_mib), max(1, image.min_disk_gib)
    test = ImageTest(image=image, memory_mib=memory_mib, disk_gib=disk_gib)
    _fits, refusal = hosts_could_take(_need(test), 1)
    if refusal is not None:
        raise refusal
    _refuse_second(image)
    test.save()
    operation = operation_submit(
        image,
        kind="image.try" if image.tenant_id is None else "image.test",
        actor=actor,
        holds=[Hold("image", image.pk)],
        params={"test": str(test.pk)},
    )
    audit_record(actor, "image.test", image)
    image_told(image)
    return operation


@transaction.atomic
def image_test_place(test: ImageTest) -> None:
    """Its turn has come: it takes room on a host that has some; safe to repeat. Raises ``NoRoom``.

    For whoever has just made sure that the operation is its own, in that transaction.
    """
    row = ImageTest.objects.select_for_update(of=("self",)).select_related("image__tenant").get(pk=test.pk)
    if row.host_id is None and row.ended_at is None:
        (row.host,) = hosts_take(_need(row))
        row.save(update_fields=["host"])


def _need(test: ImageTest) -> Need:
    lineage, traits = lineage_of(test.image.tenant), test.image.traits
    return Need(test.vcpus, test.memory_mib, test.disk_gib, lineage, traits=traits, has_cards=False)


def _refuse_second(image: Image) -> None:
    """Raise ``Conflict`` while another image of its tenant, or many of all, are under way; who asks at once is counted in turn.

    No quota counts what a test boot takes: without this a tenant, or many together, could take all hosts from everybody else.
    """
    Installation.objects.select_for_update(no_key=True).get()
    under_way = ImageTest.objects.filter(ended_at=None)
    if under_way.count() >= settings.CAPS["image_tests"]:
        raise Conflict(
            _("As many images are being tried as can be at once."), code="tests_under_way", hint=_("Try again soon.")
        )
    others = under_way.filter(image__tenant=image.tenant_id)
    if image.tenant_id is not None and others.exists():
        raise Conflict(
            _("Another image of this project is being tried."), code="test_under_way", hint=_("Try again soon.")
        )


@transaction.atomic
def image_test_record(test: ImageTest, *, verdict: Verdict, log: str, screen: bytes) -> None:
    """What was seen, once nothing of it is left on its host; it takes the place of what was seen before. Repeatable."""
    image = Image.objects.select_for_update(no_key=True, of=("self",)).select_related("tenant").get(pk=test.image_id)
    ImageTest.objects.filter(image=image).exclude(pk=test.pk).delete()
    test.verdict, test.log, test.screen = verdict, log, screen
    test.host, test.ended_at = None, now()
    test.save()
    image.verdict = verdict
    image.version += 1
    image.save(update_fields=["verdict", "version"])
    image_told(image)


@transaction.atomic
def image_test_forget(test: ImageTest) -> None:
    """Nothing of one that came to no end is left on its host. Repeatable."""
    ImageTest.objects.filter(pk=test.pk, ended_at=None).delete()


def image_settle_test(operation: Operation) -> None:
    """Not ended well, also called off: what a worker may have left on the host is removed; till then it has its room."""
    image = Image.objects.select_related("tenant").filter(pk=operation.subject_id).first()
    test = ImageTest.objects.filter(pk=operation.params["test"], ended_at=None).first()
    if image is None:
        return
    if test is not None and test.host_id is None:
        test.delete()
    elif test is not None:
        _tidy(image, test, after=operation)
    image_told(image)


def _tidy(image: Image, test: ImageTest, *, after: Operation | None = None) -> None:
    operation_submit(
        image,
        kind="image.tidy",
        actor=system_actor(image.tenant, why="settle"),
        holds=[] if after is not None else [Hold("image", image.pk)],
        params={"test": str(test.pk)},
        after=after,
    )


def image_tests_tidy() -> int:
    """Ask once more for the removal of what test boots left that are over; how many. Needs every tenant's scope."""
    asked = 0
    for test in ImageTest.objects.exclude(host=None).select_related("image__tenant"):
        try:
            with transaction.atomic():
                _tidy(test.image, test)
        except Conflict:
            log.info("test_boot_goes_on", image=str(test.image_id))
            continue
        asked += 1
    return asked


def verdict_of(log: str) -> Verdict | None:
    """What a serial line has come to, if it says; None where the boot may still go on."""
    return next((verdict for verdict, sign in SIGNS if sign.search(log)), None)


def image_tested(image: Image) -> ImageTest | None:
    """The last test boot that ended."""
    return ImageTest.objects.filter(image=image).exclude(ended_at=None).first()
