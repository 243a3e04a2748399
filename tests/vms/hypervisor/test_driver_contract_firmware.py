"""What every driver promises of firmware: UEFI's variables and a TPM's memory stay as long as asked, and no longer."""

from __future__ import annotations

from tests.vms.hypervisor.conftest import OWNER, World
from vms.hypervisor.xml.domain import DomainSpec, Firmware, Tpm

NVRAM = "nvram-contract.fd"


def started(world: World) -> DomainSpec:
    """A machine with UEFI and a TPM that has been on for a moment."""
    world.hypervisor.ensure_pool(world.pool, str(world.pool_path))
    firmware = Firmware(kind="uefi", nvram=f"{world.pool_path}/{NVRAM}")
    spec = world.defined(firmware=firmware, tpm=Tpm(), memory_mib=128)
    world.hypervisor.start(spec.uuid)
    world.hypervisor.pull_plug(spec.uuid)
    return spec


def files(world: World) -> list[str]:
    return [volume.name for volume in world.hypervisor.volumes(world.pool)]


def test_what_they_remember_goes_with_the_machine(world: World) -> None:
    spec = started(world)
    assert (files(world), world.remembered(spec.uuid)) == ([NVRAM], True)

    world.hypervisor.undefine(spec.uuid, owner=OWNER)

    assert (files(world), world.remembered(spec.uuid)) == ([], False)


def test_it_is_kept_where_asked_and_forgotten_with_the_next_definition(world: World) -> None:
    """As when a machine leaves the bin for good: it is defined only so that its TPM is forgotten."""
    spec = started(world)

    world.hypervisor.undefine(spec.uuid, owner=OWNER, keep_firmware=True)
    assert (files(world), world.remembered(spec.uuid)) == ([NVRAM], True)

    world.hypervisor.define(spec, roots=world.roots)
    world.hypervisor.undefine(spec.uuid, owner=OWNER)
    assert (files(world), world.remembered(spec.uuid)) == ([], False)


def test_a_machine_that_was_never_on_has_nothing_to_forget(world: World) -> None:
    world.hypervisor.ensure_pool(world.pool, str(world.pool_path))
    spec = world.defined(firmware=Firmware(kind="uefi", nvram=f"{world.pool_path}/{NVRAM}"), tpm=Tpm())

    world.hypervisor.undefine(spec.uuid, owner=OWNER, keep_firmware=True)
    world.hypervisor.define(spec, roots=world.roots)
    world.hypervisor.undefine(spec.uuid, owner=OWNER)

    assert (files(world), world.remembered(spec.uuid)) == ([], False)
