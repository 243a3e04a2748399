"""Rebuild and rescue: a disk is whole before anything else changes, and nothing of either is left over (P-B13, P-B9)."""

from __future__ import annotations

import struct

import pytest

from operations.models import Operation
from operations.runner import run
from portal.core.errors import Conflict, Invalid
from tenants.journal.models import Event, UsageInterval
from tenants.models import Quota
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.portal.api.rest import Rest
from tests.vms.reconcile.bench import SIZE, Bench
from vms.hypervisor.errors import Refused, StorageFull
from vms.models import Guest, Host, Image, Spare, Volume
from vms.names import base_name, pool_name, volume_name
from vms.selectors.installation import installation_owner
from vms.services.guests import guest_rebuild, guest_rescue
from vms.services.images import image_path
from vms.states import Power

pytestmark = pytest.mark.django_db


@pytest.fixture
def other(bench: Bench) -> Image:
    """Another image, whose bytes are there."""
    image = factories.image("other", virtual_size=SIZE, size=4096, sha256="1" * 64)
    image_path(image).write_bytes(b"QFI\xfb" + struct.pack(">IQIIQ", 3, 0, 0, 16, SIZE) + bytes(4096))
    return image


def rebuild(bench: Bench, guest: Guest, image: Image) -> Operation:
    with tenant_scope(bench.house.tenant):
        return guest_rebuild(bench.fresh(guest), image, actor=bench.house.actor)


def rescue(bench: Bench, guest: Guest, image: Image) -> Operation:
    with tenant_scope(bench.house.tenant):
        return guest_rescue(bench.fresh(guest), image, actor=bench.house.actor)


def root(bench: Bench, guest: Guest) -> Volume:
    with every_tenant(why="test"):
        return Volume.objects.select_related("image").get(guest=guest)


def disks(bench: Bench, guest: Guest) -> list[tuple[str, str]]:
    """What the running machine starts from and has beside it: target and file, without its seed."""
    spec = bench.on_host.domains[str(guest.pk)].live_spec
    assert spec is not None
    return [(disk.target, disk.path.rsplit("/", 1)[1]) for disk in spec.disks if disk.path and disk.target != "vdz"]


def files(bench: Bench) -> set[str]:
    volumes = bench.on_host.pools[pool_name(installation_owner())].volumes
    return {name for name in volumes if name.startswith("vol-")}


def used(bench: Bench) -> dict[str, int]:
    return dict(Quota.objects.filter(tenant=bench.house.tenant, used__gt=0).values_list("resource", "used"))


@pytest.mark.parametrize("power", [Power.RUNNING, Power.STOPPED, Power.SUSPENDED, Power.PAUSED])
def test_a_rebuilt_machine_has_a_fresh_disk_and_its_old_name_addresses_and_keys(
    power: Power, bench: Bench, other: Image
) -> None:
    guest = bench.guest(power)
    rest, url = Rest(bench.house.token), f"{bench.house.url}/guests/{guest.pk}"
    before, old, held = rest.get(url).json, root(bench, guest), used(bench)

    assert run(rebuild(bench, guest, other).pk) == "succeeded"

    after, new = rest.get(url).json, root(bench, guest)
    kept = ("name", "addresses", "ssh_keys", "vcpus", "memory_mib", "disk_gib", "tags", "flavor")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert (after["image"], new.image, new.pk == old.pk) == (str(other.pk), other, False)
    assert files(bench) == {volume_name(new.pk)}
    backing = bench.on_host.pools[pool_name(installation_owner())].volumes[volume_name(new.pk)][0].backing_path
    assert backing.endswith(base_name(other.pk, other.sha256))
    assert used(bench) == held
    assert bench.fresh(guest).seen_power == (Power.RUNNING if power in (Power.RUNNING, Power.PAUSED) else Power.STOPPED)
    with tenant_scope(bench.house.tenant):
        metered = UsageInterval.objects.filter(ended_at=None, resource_type="volume").values_list(
            "resource_id", flat=True
        )
        assert list(metered) == [new.pk]
    assert bench.findings() == []


def test_who_looks_at_volumes_hears_that_a_rebuild_took_one_and_made_one(bench: Bench, other: Image) -> None:
    guest = bench.guest()
    old = root(bench, guest).pk
    operation = rebuild(bench, guest, other)

    def said() -> list[tuple[str, str]]:
        with tenant_scope(bench.house.tenant):
            rows = Event.objects.filter(resource_type="volume").order_by("seq")
            return list(rows.values_list("type", "resource_id"))

    before = len(said())
    assert run(operation.pk) == "succeeded"
    assert said()[before:] == [("volume.deleted", str(old)), ("volume.changed", str(root(bench, guest).pk))]


@pytest.mark.parametrize(
    ("verb", "is_new"),
    [("upload_volume", False), ("create_overlay", False), ("pull_plug", False), ("define", True), ("start", True)],
)
def test_a_rebuild_that_fails_leaves_the_old_machine_or_the_new_one_and_says_which(
    verb: str, is_new: bool, bench: Bench, other: Image
) -> None:
    guest = bench.guest()
    old = root(bench, guest)
    bench.on_host.fail(verb, StorageFull("no") if verb == "create_overlay" else Refused("no"))
    operation = rebuild(bench, guest, other)

    assert run(operation.pk) == "failed"
    bench.settle()

    operation.refresh_from_db()
    assert ("has its new disk" if is_new else "has its old disk") in operation.error_hint
    assert operation.error_hint in bench.fresh(guest).problem_message
    assert (root(bench, guest).pk != old.pk) == is_new
    assert files(bench) == {volume_name(root(bench, guest).pk)}
    assert bench.fresh(guest).seen_power == (Power.STOPPED if is_new else Power.RUNNING)
    assert bench.findings() == []
    if is_new:
        assert run(bench.ask(guest, "start").pk) == "succeeded"


def test_a_protected_machine_is_not_rebuilt_and_neither_is_one_too_small(bench: Bench) -> None:
    guest = bench.guest()
    large = factories.image("large", virtual_size=5 * 1024**3)

    with pytest.raises(Invalid):
        rebuild(bench, guest, large)
    with every_tenant(why="test"):
        Guest.objects.filter(pk=guest.pk).update(protected=True)
    with pytest.raises(Conflict) as refused:
        rebuild(bench, guest, bench.image)

    assert refused.value.code == "protected"
    with every_tenant(why="test"):
        assert not Spare.objects.exists()


def test_a_machine_is_not_rebuilt_as_what_its_host_cannot_build(bench: Bench, other: Image) -> None:
    guest = bench.guest()
    with every_tenant(why="test"):
        Image.objects.filter(pk=other.pk).update(firmware="uefi", tpm=True)
        other.refresh_from_db()

    for traits in (None, [], ["uefi"], ["tpm"]):
        Host.objects.update(traits=traits)
        with pytest.raises(Conflict) as refused:
            rebuild(bench, guest, other)
        assert refused.value.code == "host_lacks"
        with every_tenant(why="test"):
            assert not Spare.objects.exists()

    Host.objects.update(traits=["uefi", "tpm"])
    assert run(rebuild(bench, guest, other).pk) == "succeeded"
    Host.objects.update(traits=None)
    assert run(rebuild(bench, guest, other).pk) == "succeeded", "it is built so by now"


def test_a_machine_in_rescue_starts_from_the_image_with_its_own_disk_beside_it_and_back(
    bench: Bench, other: Image
) -> None:
    """P-B13: its own disk is the same before and after, and nothing is left."""
    guest = bench.guest()
    before, held = root(bench, guest), used(bench)
    mine = disks(bench, guest)

    assert run(rescue(bench, guest, other).pk) == "succeeded"
    with every_tenant(why="test"):
        spare = Spare.objects.get(guest=guest)
    assert disks(bench, guest) == [("vda", volume_name(spare.pk)), ("vdb", volume_name(before.pk))]
    spec = bench.on_host.domains[str(guest.pk)].spec
    assert spec is not None
    assert [disk.boot_order for disk in spec.disks if disk.path] == [1, None, None]
    assert used(bench) == held
    assert bench.findings() == []

    assert run(bench.ask(guest, "unrescue").pk) == "succeeded"
    assert disks(bench, guest) == mine
    assert root(bench, guest).pk == before.pk
    assert files(bench) == {volume_name(before.pk)}
    assert bench.fresh(guest).image_id == bench.image.pk
    assert bench.findings() == []


@pytest.mark.parametrize("how", ["delete", "purge"])
def test_deleting_a_machine_in_rescue_leaves_no_rescue_disk(how: str, bench: Bench) -> None:
    guest = bench.rescued()

    bench.ask(guest, how)
    bench.settle()

    assert bench.findings() == []
    with every_tenant(why="test"):
        assert not Spare.objects.exists()
    if how == "purge":
        assert files(bench) == set()
        return
    assert files(bench) == {volume_name(root(bench, guest).pk)}
    bench.ask(guest, "restore")
    bench.settle()
    assert run(bench.ask(guest, "start").pk) == "succeeded"
    assert disks(bench, guest) == [("vda", volume_name(root(bench, guest).pk))]


@pytest.mark.parametrize(("verb", "rescued"), [("upload_volume", False), ("pull_plug", False), ("start", True)])
def test_a_rescue_that_fails_says_what_the_machine_starts_from(
    verb: str, rescued: bool, bench: Bench, other: Image
) -> None:
    guest = bench.guest()
    bench.on_host.fail(verb, Refused("no"))
    operation = rescue(bench, guest, other)

    assert run(operation.pk) == "failed"
    bench.settle()

    operation.refresh_from_db()
    assert ("in rescue mode" if rescued else "its own disk") in operation.error_hint
    assert bench.fresh(guest).in_rescue == rescued
    assert bench.findings() == []
    if rescued:
        assert run(bench.ask(guest, "unrescue").pk) == "succeeded"
        assert bench.findings() == []


def test_an_image_of_another_tenant_is_nothing_to_rescue_or_rebuild_with(bench: Bench) -> None:
    """P-B13."""
    guest = bench.guest()
    theirs = factories.image("theirs", virtual_size=SIZE)
    with every_tenant(why="test"):
        Image.objects.filter(pk=theirs.pk).update(tenant=factories.tenant_with_owner().tenant)
    rest, url = Rest(bench.house.token), f"{bench.house.url}/guests/{guest.pk}"

    for verb in ("rescue", "rebuild"):
        answer = rest.post(f"{url}/{verb}", {"image": str(theirs.pk)})
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/image"), verb


def test_a_rebuild_called_off_before_it_began_leaves_nothing(bench: Bench, other: Image) -> None:
    guest = bench.guest()
    operation = rebuild(bench, guest, other)

    answer = Rest(bench.house.token).post(f"{bench.house.url}/operations/{operation.pk}/cancel")

    assert answer.status in (200, 202)
    with every_tenant(why="test"):
        assert not Spare.objects.exists()
    assert bench.fresh(guest).want_power == Power.RUNNING
    assert bench.findings() == []


def test_an_image_that_a_machine_is_being_rescued_with_stays(bench: Bench, other: Image) -> None:
    guest = bench.guest()
    run(rescue(bench, guest, other).pk)
    _person, token = factories.operator()

    answer = Rest(token).delete(f"/images/{other.pk}")

    assert (answer.status, answer.json["code"]) == (409, "image_in_use")
