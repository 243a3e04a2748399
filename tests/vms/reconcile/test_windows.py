"""A Windows machine: what it is built of, its CDs in order, and what its firmware remembers for as long as it should."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from operations.runner import run
from portal.core.errors import Conflict, Invalid
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.operations.kinds import lapse
from tests.portal.api.rest import Rest
from tests.vms.reconcile.bench import SIZE, Bench
from tests.vms.reconcile.lives import Killed, at_points
from vms.cloudinit import Seed
from vms.design import DRIVE_TARGETS
from vms.disks.seed import seed_iso
from vms.hypervisor.errors import Refused
from vms.hypervisor.xml.devices import Tpm
from vms.hypervisor.xml.domain import DomainSpec
from vms.models import Guest, Image, ImageCopy
from vms.names import nvram_name, pool_name
from vms.selectors.installation import installation_owner
from vms.services.catalogue import catalogue_place
from vms.services.guests import guest_create, guest_rebuild, guest_rescue
from vms.services.image_copies import copy_evict
from vms.services.images import image_delete, image_edit, image_import, image_path
from vms.specs import GuestSpec, ImageSpec
from vms.states import ImageKind

pytestmark = pytest.mark.django_db

PROFILE = {"firmware": "uefi", "secure_boot": True, "tpm": True, "disk_bus": "sata", "nic_model": "e1000e"}


def stored(name: str, **fields: Any) -> Image:
    """An image whose bytes are there."""
    image = factories.image(name, virtual_size=SIZE, size=4096, sha256=name[0].encode().hex() * 32)
    with every_tenant(why="test"):
        Image.objects.filter(pk=image.pk).update(**fields)
        image.refresh_from_db()
    image_path(image).write_bytes(b"QFI\xfb" + struct.pack(">IQIIQ", 3, 0, 0, 16, SIZE) + bytes(4096))
    return image


@pytest.fixture
def drivers(bench: Bench) -> Image:
    return stored("drivers", kind=ImageKind.DRIVERS)


@pytest.fixture
def windows(bench: Bench, drivers: Image) -> Image:
    return stored("windows", os_family="windows", init="cloudbase-init", **PROFILE)


@pytest.fixture
def machine(bench: Bench, windows: Image) -> Guest:
    bench.image = windows
    return bench.guest()


def spec_of(bench: Bench, guest: Guest) -> DomainSpec:
    spec = bench.on_host.domains[str(guest.pk)].spec
    assert spec is not None
    return spec


def variables(bench: Bench, guest: Guest) -> bool:
    return nvram_name(guest.pk) in bench.on_host.pools[pool_name(installation_owner())].volumes


def remembers(bench: Bench, guest: Guest) -> tuple[bool, bool]:
    """Are there UEFI's variables, and the TPM's memory?"""
    return variables(bench, guest), str(guest.pk) in bench.on_host.tpms


def test_it_is_built_as_its_image_says_with_its_cds_in_order(bench: Bench, machine: Guest, drivers: Image) -> None:
    spec = spec_of(bench, machine)

    assert (spec.firmware.kind, spec.firmware.secure_boot) == ("uefi", True)
    assert spec.tpm == Tpm(model="tpm-crb")
    assert (spec.local_time, spec.hyperv is not None) == (True, True)
    discs = [(disk.target, disk.bus, disk.device, disk.path.rpartition("/")[2].split("-")[0]) for disk in spec.disks]
    assert discs == [
        ("sda", "sata", "disk", "vol"),
        ("sdc", "sata", "cdrom", ""),
        ("sdd", "sata", "cdrom", ""),
        ("sde", "sata", "cdrom", "img"),
        ("sdf", "sata", "cdrom", "seed"),
    ]
    assert drivers.pk.hex in spec.disks[3].path
    assert [nic.model for nic in spec.nics] == ["e1000e"]
    assert bench.findings() == []


def test_what_is_said_of_the_image_later_changes_no_machine(bench: Bench, machine: Guest, windows: Image) -> None:
    with every_tenant(why="test"):
        image_edit(windows, actor=factories.desk(), os_family="linux", secure_boot=False, tpm=False, disk_bus="virtio")
    assert run(bench.ask(machine, "stop").pk) == "succeeded"
    before = spec_of(bench, machine)

    assert run(bench.ask(machine, "start").pk) == "succeeded"

    after = spec_of(bench, machine)
    assert (after.firmware, after.tpm, after.hyperv) == (before.firmware, before.tpm, before.hyperv)
    assert after.disks == before.disks


def test_the_bin_keeps_what_firmware_and_tpm_remember_and_purging_keeps_nothing(bench: Bench, machine: Guest) -> None:
    assert remembers(bench, machine) == (True, True)

    assert run(bench.ask(machine, "delete").pk) == "succeeded"
    assert (bench.on_host.domains, remembers(bench, machine)) == ({}, (True, True))
    assert bench.findings() == []

    assert run(bench.ask(machine, "restore").pk) == "succeeded"
    assert remembers(bench, machine) == (True, True)
    assert run(bench.ask(machine, "delete").pk) == "succeeded"
    assert run(bench.ask(machine, "purge").pk) == "succeeded"

    assert (bench.on_host.domains, bench.on_host.tpms, variables(bench, machine)) == ({}, set(), False)
    assert bench.findings() == []


def test_rescue_keeps_what_they_remember_and_a_rebuild_forgets_it(bench: Bench, machine: Guest, windows: Image) -> None:
    with tenant_scope(bench.house.tenant):
        assert run(guest_rescue(machine, windows, actor=bench.house.actor).pk) == "succeeded"
    assert remembers(bench, machine) == (True, True)
    assert [disk.target for disk in spec_of(bench, machine).disks] == ["sda", "sdb", *DRIVE_TARGETS, "sde", "sdf"]
    assert run(bench.ask(machine, "unrescue").pk) == "succeeded"
    assert run(bench.ask(machine, "stop").pk) == "succeeded"

    assert run(bench.ask(machine, "rebuild").pk) == "succeeded"

    assert remembers(bench, machine) == (False, False)
    assert bench.findings() == []


def test_it_is_rebuilt_as_what_the_other_image_says(bench: Bench, machine: Guest) -> None:
    linux = stored("linux")
    with tenant_scope(bench.house.tenant):
        assert run(guest_rebuild(machine, linux, actor=bench.house.actor).pk) == "succeeded"

    spec, row = spec_of(bench, machine), bench.fresh(machine)
    assert (spec.firmware.kind, spec.tpm, spec.hyperv, spec.local_time) == ("bios", None, None, False)
    assert [disk.target for disk in spec.disks] == ["vda", *DRIVE_TARGETS, "vdz"]
    assert (row.is_windows, row.drivers, remembers(bench, machine)) == (False, None, (False, False))
    assert bench.findings() == []


@pytest.mark.parametrize("action", ["rebuild", "purge"])
def test_a_worker_killed_while_they_are_forgotten_is_taken_over(
    action: str, bench: Bench, windows: Image, subtests: pytest.Subtests
) -> None:
    bench.image = windows
    for point in ("firmware:before", "firmware:after"):
        with subtests.test(point):
            machine = bench.guest()
            operation = bench.ask(machine, action)

            def die(passed: str, point: str = point) -> None:
                if passed.endswith(point):
                    raise Killed

            with at_points(die), pytest.raises(Killed):
                run(operation.pk)
            lapse(operation)
            bench.settle()

            operation.refresh_from_db()
            assert operation.status == "succeeded"
            assert bench.findings() == []
            assert (str(machine.pk) in bench.on_host.tpms) == (action == "rebuild")


def test_a_rebuild_whose_old_machine_cannot_be_defined_again_starts_all_the_same(bench: Bench, machine: Guest) -> None:
    """It was not defined for good: nothing defines a machine but what is asked of it."""
    bench.on_host.fail("define", Refused("no"))
    assert run(bench.ask(machine, "rebuild").pk) == "failed"
    bench.settle()

    assert run(bench.ask(machine, "start").pk) == "succeeded"
    assert bench.findings() == []


def test_the_drivers_cd_stays_while_a_machine_has_it(bench: Bench, machine: Guest, drivers: Image) -> None:
    with every_tenant(why="test"):
        copy = ImageCopy.objects.get(image=drivers)
        for act in (
            lambda: image_delete(drivers, actor=factories.desk()),
            lambda: copy_evict(copy, actor=factories.desk()),
        ):
            with pytest.raises(Conflict):
                act()


def test_a_windows_machine_without_a_drivers_cd_is_made_without(bench: Bench) -> None:
    bench.image = stored("windows", os_family="windows", **PROFILE)

    machine = bench.guest()

    assert [disk.target for disk in spec_of(bench, machine).disks] == ["sda", *DRIVE_TARGETS, "sdf"]


def test_no_machine_is_made_of_a_cd(bench: Bench, drivers: Image) -> None:
    bench.image = drivers

    with pytest.raises(Invalid) as refused:
        bench.ask_create()

    assert [fault.code for fault in refused.value.errors] == ["image_no_disk"]
    rest, url = Rest(bench.house.token), f"{bench.house.url}/volumes"
    answer = rest.post(url, {"name": "v", "size_gib": 1, "image": str(drivers.pk)})
    assert (answer.status, answer.json["errors"][0]["code"]) == (422, "image_no_disk")


def test_what_is_no_cd_becomes_none(bench: Bench, tmp_path: Path) -> None:
    file, spec = tmp_path / "disk", ImageSpec("drivers", kind="drivers", source_format="raw")
    file.write_bytes(bytes(64 * 1024))
    with every_tenant(why="test"):
        image, _operation = image_import(spec, url="https://example.test/d", sha256="0" * 64, actor=factories.desk())
        with pytest.raises(Invalid) as refused:
            catalogue_place(file, image, declared="raw")
        assert refused.value.code == "bad_image"
        file.write_bytes(seed_iso(Seed(instance_id="i", hostname="w")))
        catalogue_place(file, image, declared="raw")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (ImageSpec("w", secure_boot=True), "/secure_boot"),
        (ImageSpec("w", kind="iso"), "/format"),
        (ImageSpec("w", disk_bus="floppy"), "/disk_bus"),
        (ImageSpec("w", nic_model="rtl8139"), "/nic_model"),
        (ImageSpec("w", kind="floppy"), "/kind"),
        (ImageSpec("w", kind="drivers", source_format="raw"), "/kind"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_tenants_image_of_what_cannot_be_is_refused(bench: Bench, spec: ImageSpec, field: str) -> None:
    house = bench.house
    with tenant_scope(house.tenant), pytest.raises(Invalid) as refused:
        image_import(spec, url="https://example.test/d", sha256="0" * 64, actor=house.actor, tenant=house.tenant)

    assert field in [fault.pointer for fault in refused.value.errors]


def test_cloudbase_init_is_given_no_password_it_could_not_read(bench: Bench, windows: Image) -> None:
    """The portal keeps a hash, which Windows cannot use."""
    spec = GuestSpec(name="w", flavor=bench.flavor, image=windows, password="correct horse")
    with tenant_scope(bench.house.tenant), pytest.raises(Invalid) as refused:
        guest_create(bench.house.tenant, spec, actor=bench.house.actor)

    assert [fault.code for fault in refused.value.errors] == ["password_later"]
