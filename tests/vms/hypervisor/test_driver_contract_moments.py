"""What every driver promises of a machine that no definition is kept of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.vms.hypervisor.conftest import STRANGER, World
from vms.hypervisor.errors import HypervisorError, Refused
from vms.hypervisor.xml.domain import Disk, Firmware, Tag, Tpm
from vms.states import Power


def test_it_runs_is_seen_as_ours_and_is_gone_when_its_plug_is_pulled(world: World) -> None:
    spec = world.spec(vnc=None)

    world.hypervisor.start_once(spec, roots=world.roots)
    world.hypervisor.start_once(spec, roots=world.roots)

    seen = world.hypervisor.domain(spec.uuid)
    assert seen is not None
    assert (seen.power, seen.owner, seen.guest) == (Power.RUNNING, spec.tag.owner, spec.tag.subject)
    assert world.hypervisor.screenshot(spec.uuid).startswith(b"\x89PNG")
    world.hypervisor.pull_plug(spec.uuid)
    world.hypervisor.pull_plug(spec.uuid)
    assert world.hypervisor.domain(spec.uuid) is None
    assert [domain.uuid for domain in world.hypervisor.domains() if domain.owner == spec.tag.owner] == []


def test_what_is_defined_or_somebody_elses_is_not_taken(world: World) -> None:
    spec = world.defined()
    foreign = replace(world.spec("gh-contract-b"), tag=Tag(owner=STRANGER, subject="x", tenant="acme"))
    world.hypervisor.start_once(foreign, roots=world.roots)

    for taken in (spec, replace(foreign, tag=spec.tag), replace(world.spec("gh-contract-c"), name=spec.name)):
        with pytest.raises(Refused):
            world.hypervisor.start_once(taken, roots=world.roots)

    standing = world.hypervisor.domain(spec.uuid)
    assert standing is not None
    assert standing.power == Power.STOPPED


def test_it_reaches_no_further_than_a_machine_that_stays(world: World) -> None:
    outside = world.spec(disks=(Disk(path=str(Path("/etc/passwd")), target="vda", format="raw", backing=()),))

    with pytest.raises(Refused):
        world.hypervisor.start_once(outside, roots=world.roots)

    assert world.hypervisor.domain(outside.uuid) is None


def test_one_that_cannot_start_leaves_nothing(world: World) -> None:
    world.hypervisor.ensure_pool(world.pool, str(world.pool_path))
    missing = world.spec(disks=(Disk(path=f"{world.pool_path}/vol-missing.qcow2", target="vda", backing=()),))

    with pytest.raises(HypervisorError):
        world.hypervisor.start_once(missing, roots=world.roots)

    assert world.hypervisor.domain(missing.uuid) is None


def test_its_tpm_forgets_with_it_and_what_its_firmware_wrote_is_a_file_of_the_pool(world: World) -> None:
    world.hypervisor.ensure_pool(world.pool, str(world.pool_path))
    firmware = Firmware(kind="uefi", nvram=f"{world.pool_path}/nvram-moment.fd")
    spec = world.spec(firmware=firmware, tpm=Tpm(), memory_mib=128)

    world.hypervisor.start_once(spec, roots=world.roots)
    assert world.remembered(spec.uuid)
    world.hypervisor.pull_plug(spec.uuid)

    assert not world.remembered(spec.uuid)
    assert [volume.name for volume in world.hypervisor.volumes(world.pool)] == ["nvram-moment.fd"]
