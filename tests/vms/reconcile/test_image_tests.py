"""An image is started once, judged by its serial line, and nothing of that is left; also when workers die or it is called off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from operations.models import Operation
from operations.registry import kinds
from operations.runner import run
from operations.services import operation_cancel
from portal.core.errors import Conflict
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import Killed, at_points
from tests.vms.reconcile.test_kill_points import some  # noqa: F401  (a fixture)
from vms.handlers import image_tests as handlers
from vms.hypervisor.errors import Refused, StorageFull
from vms.models import Drift, Image, ImageCopy, ImageTest
from vms.names import pool_name, serial_log
from vms.reconcile.sweep import sweep
from vms.selectors.installation import installation_owner
from vms.selectors.rooms import host_rooms
from vms.services.guests.inside import LOG_BYTES
from vms.services.image_copies import copy_is_used
from vms.services.image_tests import image_test, image_tested, image_tests_tidy, verdict_of
from vms.services.images import image_delete
from vms.services.placing import NoRoom
from vms.states import Power

PROMPT = b"\x1b[2J\x07Guesthouse Tiny Linux 6.1 (ttyS0)\r\n\r\n\x1b[1mtest-boot login: \x1b[0m"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "LOOK_S", 0.0)


def ask(bench: Bench) -> Operation:
    with every_tenant(why="test"):
        return image_test(bench.image, actor=factories.desk())


def speaks(bench: Bench, words: bytes) -> Callable[[str], None]:
    """The image says this as soon as it is started."""

    def at(point: str) -> None:
        if point.endswith(":boot:after"):
            bench.on_host.logs[serial_log(the_test().pk)] = words

    return at


def the_test() -> ImageTest:
    return ImageTest.objects.get(ended_at=None)


def outcome(bench: Bench, words: bytes) -> ImageTest:
    operation = ask(bench)
    with at_points(speaks(bench, words)):
        assert run(operation.pk) == "succeeded"
    found = image_tested(bench.image)
    assert found is not None
    return found


def says(bench: Bench, **words: Any) -> None:
    with every_tenant(why="test"):
        Image.objects.filter(pk=bench.image.pk).update(**words)


def left(bench: Bench) -> list[str]:
    """What is on the host but for the image's copy."""
    files = bench.on_host.pools[pool_name(installation_owner())].volumes
    return [*bench.on_host.domains, *(name for name in files if not name.startswith("img-"))]


def test_every_kind_is_tried() -> None:
    assert {name for name in kinds() if name.startswith("image.t")} == {"image.try", "image.test", "image.tidy"}


def test_an_image_that_asks_for_a_name_is_said_to(bench: Bench) -> None:
    found = outcome(bench, PROMPT)

    assert (found.verdict, found.host, found.limit_s) == ("login", None, 900)
    assert found.log == "Guesthouse Tiny Linux 6.1 (ttyS0)\n\ntest-boot login: "
    assert bytes(found.screen).startswith(b"\x89PNG")
    with every_tenant(why="test"):
        assert Image.objects.get(pk=bench.image.pk).verdict == "login"
    assert left(bench) == []
    assert bench.findings() == []


def test_a_project_tries_an_image_of_its_own(bench: Bench) -> None:
    with every_tenant(why="test"):
        Image.objects.filter(pk=bench.image.pk).update(tenant=bench.house.tenant)
    with tenant_scope(bench.house.tenant):
        operation = image_test(Image.objects.get(pk=bench.image.pk), actor=bench.house.actor)

    with at_points(speaks(bench, PROMPT)):
        assert run(operation.pk) == "succeeded"

    assert (operation.kind, operation.tenant) == ("image.test", bench.house.tenant)
    assert ImageTest.objects.get().verdict == "login"
    assert left(bench) == []


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ("Debian GNU/Linux 12 host ttyS0\n\nhost login: ", "login"),
        ("[ 1.0] systemd[1]: Started Getty\nlocalhost login:", "login"),
        ("[    1.1] Kernel panic - not syncing: VFS: Unable to mount root fs", "panic"),
        ("host login: \n[ 9.9] Kernel panic - not syncing: Fatal exception", "panic"),
        ("You are in emergency mode. After logging in, type", "emergency"),
        ("BusyBox v1.36\n(initramfs) ", "emergency"),
        ("UEFI Interactive Shell v2.2\nShell> ", "nothing"),
        ("Last login: Mon Nov 23 on ttyS0", None),
        ("pam_unix(login:session): session opened", None),
        ("", None),
    ],
)
def test_what_a_serial_line_means(words: str, verdict: str | None) -> None:
    assert verdict_of(words) == verdict


def test_one_that_says_nothing_is_looked_at_until_its_time_is_over(bench: Bench) -> None:
    operation = ask(bench)
    ImageTest.objects.update(limit_s=0)

    assert run(operation.pk) == "succeeded"

    found = image_tested(bench.image)
    assert found is not None
    assert (found.verdict, bytes(found.screen[:4])) == ("silent", b"\x89PNG")
    assert left(bench) == []


def test_one_that_switches_itself_off_is_not_there_any_more(bench: Bench) -> None:
    operation = ask(bench)

    def off(point: str) -> None:
        if point.endswith(":boot:after"):
            bench.on_host.happen(str(the_test().pk), Power.STOPPED, "shutdown")

    with at_points(off):
        assert run(operation.pk) == "succeeded"

    found = image_tested(bench.image)
    assert found is not None
    assert found.verdict == "off"
    assert left(bench) == []


def test_hostile_words_and_pictures_are_cut_and_cleaned(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from vms.hypervisor.fake.domains import Domains

    monkeypatch.setattr(Domains, "screenshot", lambda _self, _uuid: b"<svg onload=alert(1)>")
    found = outcome(bench, b"\0\xff\x1b]52;c;ZXZpbA==\x07<script>\n" + b"x" * 2 * LOG_BYTES + b"\nlogin: ")

    assert found.verdict == "login"
    assert bytes(found.screen) == b""
    assert len(found.log) <= LOG_BYTES
    assert not {"\0", "\x1b"} & set(found.log)


def test_the_machine_has_no_network_and_is_built_as_the_image_says(bench: Bench) -> None:
    says(bench, firmware="uefi", secure_boot=True, tpm=True, disk_bus="sata", os_family="windows", min_memory_mib=4096)
    operation = ask(bench)
    seen: dict[str, Any] = {}

    def look(point: str) -> None:
        if point.endswith(":boot:after"):
            (domain,) = bench.on_host.domains.values()
            seen["spec"] = domain.spec
            bench.on_host.logs[serial_log(the_test().pk)] = PROMPT

    with at_points(look):
        assert run(operation.pk) == "succeeded"

    spec = seen["spec"]
    assert spec.nics == ()
    assert (spec.vcpus, spec.memory_mib, spec.local_time, spec.tpm is not None) == (1, 4096, True, True)
    assert (spec.firmware.kind, spec.firmware.secure_boot) == ("uefi", True)
    assert [(disk.target, disk.bus, disk.device) for disk in spec.disks] == [
        ("sda", "sata", "disk"),
        ("sdf", "sata", "cdrom"),
    ]
    assert left(bench) == []
    assert (bench.on_host.tpms, bench.findings()) == (set(), [])


def test_while_it_runs_it_has_room_on_its_host_and_while_it_waits_it_takes_none(bench: Bench) -> None:
    bench.guest()
    (before,) = host_rooms()
    operation = ask(bench)
    (waiting,) = host_rooms()
    seen: list[Any] = []

    def look(point: str) -> None:
        speaks(bench, PROMPT)(point)
        if point.endswith(":boot:after"):
            seen.extend(host_rooms())
            assert copy_is_used(bench.image.copies.get())

    assert (waiting.claimed_vcpus, waiting.claimed_memory_mib) == (before.claimed_vcpus, before.claimed_memory_mib)
    with every_tenant(why="test"):
        for refused in (image_delete, image_test):
            with pytest.raises(Conflict):
                refused(bench.image, actor=factories.desk())

    with at_points(look):
        assert run(operation.pk) == "succeeded"
    (during,), (after,) = seen, host_rooms()
    assert during.claimed_memory_mib - before.claimed_memory_mib == 256
    assert during.claimed_vcpus - before.claimed_vcpus == 1
    assert (after.claimed_vcpus, after.claimed_memory_mib) == (before.claimed_vcpus, before.claimed_memory_mib)


def test_one_whose_turn_comes_while_no_host_has_room_waits_for_it(bench: Bench) -> None:
    operation = ask(bench)
    ImageTest.objects.update(memory_mib=1024**2)

    assert run(operation.pk) == "queued"
    operation.refresh_from_db()
    assert operation.step == "Waiting for room on a host"
    assert the_test().host is None
    assert bench.findings() == []

    Operation.objects.filter(pk=operation.pk).update(not_before=factories.now(), deadline_at=factories.now())
    assert run(operation.pk) == "failed"
    operation.refresh_from_db()
    assert (operation.error_code, ImageTest.objects.exists()) == ("no_room", False)
    assert not Operation.objects.filter(kind="image.tidy").exists(), "nothing of it was ever on a host"


def test_without_room_or_a_disk_nothing_is_begun(bench: Bench) -> None:
    says(bench, min_memory_mib=1024**2)
    with pytest.raises(NoRoom):
        ask(bench)
    says(bench, kind="iso", min_memory_mib=64)
    with pytest.raises(Conflict):
        ask(bench)

    assert not ImageTest.objects.exists()
    assert not Operation.objects.filter(kind="image.try").exists()


def test_a_worker_killed_at_any_point_is_taken_over(bench: Bench, subtests: pytest.Subtests) -> None:
    """W1. The machine may have gone with its worker's connection, or not yet."""
    operation = ask(bench)
    with at_points(speaks(bench, PROMPT)) as passed:
        assert run(operation.pk) == "succeeded"

    for number, point in enumerate(dict.fromkeys(passed)):
        with subtests.test(point):
            ImageCopy.objects.all().delete()
            bench.on_host.pools[pool_name(installation_owner())].volumes.clear()
            operation = ask(bench)

            def die(here: str, point: str = point) -> None:
                speaks(bench, PROMPT)(here)
                if here == point:
                    raise Killed

            with at_points(die), pytest.raises(Killed):
                run(operation.pk)
            if number % 2:
                bench.on_host.forget_moments()
            lapse(operation)
            with at_points(speaks(bench, PROMPT)):
                bench.settle()

            assert Operation.objects.get(pk=operation.pk).status == "succeeded"
            found = image_tested(bench.image)
            assert found is not None
            assert found.verdict == "login"
            assert ImageTest.objects.count() == 1
            assert (left(bench), bench.findings()) == ([], [])


@pytest.mark.parametrize("how", ["called off", "failed"])
def test_one_that_comes_to_no_end_leaves_nothing(
    how: str,
    bench: Bench,
    some: Callable[[list[str]], list[str]],  # noqa: F811
    subtests: pytest.Subtests,
) -> None:
    outcome(bench, PROMPT)
    points = ["", *some([f"image.try:{name}:after" for name in ("disk", "seed", "boot", "pull", "delete_vol")])]

    for point in points:
        with subtests.test(point or "before it began"):
            operation = ask(bench)

            def end(here: str, point: str = point, operation: Operation = operation) -> None:
                if here != point:
                    speaks(bench, PROMPT)(here)
                elif how == "failed":
                    raise Refused("no")
                else:
                    operation_cancel(operation, actor=factories.desk())

            if not point:
                operation_cancel(operation, actor=factories.desk())
            with every_tenant(why="test"), at_points(end):
                run(operation.pk)
            bench.settle()

            operation.refresh_from_db()
            assert operation.status == ("failed" if how == "failed" and point else "cancelled")
            assert ImageTest.objects.get().verdict == "login", "what was seen before is still true"
            assert (left(bench), bench.findings()) == ([], [])


def test_what_could_not_be_removed_keeps_its_room_and_is_removed_later(bench: Bench) -> None:
    operation = ask(bench)
    bench.on_host.fail("start_once", StorageFull("no"))
    bench.on_host.fail("delete_volume", Refused("no"))

    assert run(operation.pk) == "failed"
    tidy = Operation.objects.get(kind="image.tidy")
    assert run(tidy.pk) == "failed"
    assert the_test().host is not None
    assert [line for line in bench.findings() if "is over and has its room" in line]

    with every_tenant(why="test"):
        with pytest.raises(Conflict) as refused:
            image_delete(bench.image, actor=factories.desk())
        assert refused.value.code == "image_in_test"
        assert image_tests_tidy() == 1
        assert image_tests_tidy() == 0
    bench.settle()

    assert not ImageTest.objects.exists()
    assert (left(bench), bench.findings()) == ([], [])


def test_a_machine_of_no_test_boot_is_drift(bench: Bench) -> None:
    operation = ask(bench)

    def lose(point: str) -> None:
        if point.endswith(":boot:after"):
            ImageTest.objects.all().delete()
            raise Killed

    with at_points(lose), pytest.raises(Killed):
        run(operation.pk)
    with every_tenant(why="test"):
        sweep(bench.host)

    assert Drift.objects.filter(kind="stray_domain", detail="a test boot that is over").exists()
    assert [line for line in bench.findings() if "belongs to no test boot" in line]


def test_a_project_tries_one_image_at_a_time(bench: Bench) -> None:
    """What a test boot takes of a host is in nobody's quota."""
    first, second = (factories.own_image(bench.house, name) for name in ("first", "second"))
    with tenant_scope(bench.house.tenant):
        image_test(first, actor=bench.house.actor)
        with pytest.raises(Conflict) as refused:
            image_test(second, actor=bench.house.actor)

    assert refused.value.code == "test_under_way"
    assert ImageTest.objects.get().image == first
    ask(bench)


def test_the_installation_tries_only_so_many_at_once(bench: Bench, settings: Any) -> None:
    settings.CAPS = {**settings.CAPS, "image_tests": 2}
    ask(bench)
    first, second = (factories.tenant_with_owner() for _each in range(2))

    with tenant_scope(first.tenant):
        image_test(factories.own_image(first), actor=first.actor)
    with tenant_scope(second.tenant), pytest.raises(Conflict) as refused:
        image_test(factories.own_image(second), actor=second.actor)

    assert refused.value.code == "tests_under_way"


def test_two_on_one_host_take_turns(bench: Bench) -> None:
    """Each has a worker for as long as it takes."""
    first, other = ask(bench), factories.image("other", virtual_size=bench.image.virtual_size, size=4096)
    with every_tenant(why="test"):
        second = image_test(other, actor=factories.desk())
    inner: list[Any] = []

    def meanwhile(point: str) -> None:
        if point == "image.try:boot:after" and not inner:
            bench.on_host.logs[serial_log(ImageTest.objects.get(image=bench.image).pk)] = PROMPT
            inner.append(run(second.pk))

    with at_points(meanwhile):
        assert run(first.pk) == "succeeded"

    assert inner == ["queued"]
