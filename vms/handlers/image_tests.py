"""Test boots: an image's overlay and seed on a host, one start without a network, a look every now and then, all of it away."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.db import transaction
from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Retry, Run
from portal.core.clock import now
from portal.core.units import GIB
from vms import design
from vms.cloudinit import Seed
from vms.disks.seed import seed_iso
from vms.handlers.guests import ensure_disk, ensure_pool
from vms.handlers.image_copies import ensure_copy
from vms.handlers.place import connect, host_words
from vms.hypervisor import errors
from vms.hypervisor.driver import Hypervisor
from vms.models import Host, ImageTest
from vms.models.image_tests import Verdict
from vms.names import Owner, nvram_name, pool_name, seed_name, serial_log, serial_socket, volume_name
from vms.selectors.installation import installation_owner
from vms.services.guests.inside import LOG_BYTES, PNG, SCREEN_BYTES, plain_log
from vms.services.image_tests import image_test_forget, image_test_place, image_test_record, verdict_of
from vms.services.placing import NoRoom
from vms.states import ON

LOOK_S: Final = 2.0
"""Between two looks at the serial line; reading it costs the host a look through its pool."""
SCREEN_EVERY: Final = 5
"""At how many of them the screen is looked at, too: of a machine that has switched itself off the last picture is kept."""


@dataclass(frozen=True, slots=True)
class Stand:
    """A test boot on its host."""

    test: ImageTest
    host: Host
    hv: Hypervisor
    owner: Owner

    @property
    def uuid(self) -> str:
        return str(self.test.pk)

    @property
    def pool(self) -> str:
        return pool_name(self.owner)


@contextmanager
def _standing(run: Run) -> Iterator[Stand | None]:
    """The operation's test boot on its host, connected; None where it is over."""
    rows = ImageTest.objects.select_related("host", "image__tenant").filter(pk=run.params["test"])
    test = rows.filter(host__isnull=False).first()
    if test is None or test.host is None:
        yield None
        return
    with host_words(test.host):
        run.check()
        yield Stand(test, test.host, connect(test.host), installation_owner())


@handles("image.try")
@handles("image.test")
def test_boot(run: Run) -> None:
    """One at a time on a host. Always from the beginning: the machine of a worker that died went with its connection."""
    place(run)
    with _standing(run) as stand:
        if stand is None:
            return
        run.hold("image_test", stand.host.pk)
        image = stand.test.image
        ensure_pool(run, stand)
        ensure_copy(run, stand.hv, stand.host, stand.owner, image)
        _clear(run, stand)
        run.say(_("Making the disk"), 30)
        ensure_disk(run, stand, stand.test.pk, image, capacity=stand.test.disk_gib * GIB, effect="disk")
        _write_seed(run, stand)
        run.say(_("Starting"), 40)
        with run.effect("boot"):
            stand.hv.start_once(
                design.image_test_spec(stand.test, stand.host, stand.owner), roots=design.roots(stand.host)
            )
        verdict, log, screen = _watch(run, stand)
        run.say(_("Cleaning up"), 95)
        _clear(run, stand)
        run.check()
        image_test_record(stand.test, verdict=verdict, log=log, screen=screen)


def place(run: Run) -> None:
    """Room on a host, now that its turn has come; while none has any it waits, and says so in the end."""
    test = ImageTest.objects.filter(pk=run.params["test"], host=None, ended_at=None).first()
    if test is None:
        return
    try:
        with transaction.atomic():
            run.check()
            image_test_place(test)
    except NoRoom as error:
        if now() >= run.operation.deadline_at:
            raise
        raise Retry(_("Waiting for room on a host"), close_lane=False) from error


@handles("image.tidy")
def tidy(run: Run) -> None:
    """Whatever a test boot that is over left on its host."""
    with _standing(run) as stand:
        if stand is not None:
            _clear(run, stand)
            image_test_forget(stand.test)


def _write_seed(run: Run, stand: Stand) -> None:
    """Harmless: a name, no keys, no password."""
    seed = Seed(instance_id=stand.uuid, hostname="test-boot", for_windows=stand.test.image.is_windows)
    with tempfile.NamedTemporaryFile(prefix="seed-") as file, run.effect("seed"):
        file.write(seed_iso(seed))
        file.flush()
        stand.hv.upload_volume(stand.pool, seed_name(stand.test.pk), Path(file.name), disk_format="raw")


def _watch(run: Run, stand: Stand) -> tuple[Verdict, str, bytes]:
    """Look until it says what has become of it, is off, or the time is over: the verdict, the log's end, the screen (PNG)."""
    began, looks, screen = time.monotonic(), 0, b""
    while True:
        spent = time.monotonic() - began
        domain = stand.hv.domain(stand.uuid)
        on = domain is not None and domain.power in ON
        log = plain_log(stand.hv.log_tail(stand.pool, serial_log(stand.test.pk), most=LOG_BYTES))
        verdict = verdict_of(log)
        over = verdict is not None or not on or spent >= stand.test.limit_s
        if on and (over or looks % SCREEN_EVERY == 0):
            screen = _screen(stand) or screen
        if over:
            return verdict or (Verdict.SILENT if on else Verdict.OFF), log, screen
        run.tick(_("Waiting for a login prompt"), 40 + int(50 * spent / stand.test.limit_s))
        looks += 1
        time.sleep(LOOK_S)


def _screen(stand: Stand) -> bytes:
    """The screen as PNG; nothing where it has none just now, or where it is larger than is kept."""
    try:
        picture = stand.hv.screenshot(stand.uuid)
    except (errors.Missing, errors.Refused):
        return b""
    return picture if picture.startswith(PNG) and len(picture) <= SCREEN_BYTES else b""


def _clear(run: Run, stand: Stand) -> None:
    """Neither machine nor files of it are there any more; what is gone is gone already."""
    if stand.hv.domain(stand.uuid) is not None:
        with run.effect("pull"):
            stand.hv.pull_plug(stand.uuid)
    if stand.hv.pool(stand.pool) is None:
        return
    pk = stand.test.pk
    logs = [serial_log(pk) + suffix for suffix in ("", ".0", ".1", ".2", ".3")]
    present = {volume.name for volume in stand.hv.volumes(stand.pool)}
    for name in (volume_name(pk), seed_name(pk), nvram_name(pk), *logs):
        if name in present:
            with run.effect("delete_" + name.split("-")[0]):
                stand.hv.delete_volume(stand.pool, name)
    Path(serial_socket(stand.host.run_dir, pk)).unlink(missing_ok=True)
