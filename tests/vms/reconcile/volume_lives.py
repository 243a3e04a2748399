"""One recipe for each kind of operation on a volume, with its machine running, off, or without one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from operations.models import Operation
from operations.runner import run
from tenants.scoping import every_tenant, tenant_scope
from tests.vms.reconcile.bench import Bench
from vms.models import Guest, StorageClass, Volume
from vms.names import pool_name, volume_name
from vms.selectors.installation import installation_owner
from vms.services import volumes as services
from vms.specs import VolumeSpec
from vms.states import Power

_numbers = itertools.count(1)


@dataclass
class Disks:
    """What is asked of volumes on a bench, and what is looked at afterwards."""

    bench: Bench

    def ask_create(
        self, guest: Guest | None = None, *, size_gib: int = 1, image: bool = False
    ) -> tuple[Volume, Operation]:
        spec = VolumeSpec(
            name=f"v{next(_numbers)}", size_gib=size_gib, guest=guest, image=self.bench.image if image else None
        )
        with tenant_scope(self.bench.house.tenant):
            operation = services.volume_create(self.bench.house.tenant, spec, actor=self.bench.house.actor)
        return self.fresh(operation.subject_id), operation

    def volume(self, guest: Guest | None = None) -> Volume:
        """A volume that is really there, plugged in if a machine is given."""
        volume, operation = self.ask_create(guest)
        assert run(operation.pk) == "succeeded"
        return self.fresh(volume.pk)

    def ask(self, volume: Volume, verb: str, *arguments: object, **more: object) -> Operation:
        """``attach``, ``detach``, ``extend``, ``limit`` or ``delete``, by the tenant's owner."""
        with tenant_scope(self.bench.house.tenant):
            service = getattr(services, f"volume_{verb}")
            asked: Operation = service(self.fresh(volume.pk), *arguments, actor=self.bench.house.actor, **more)
            return asked

    def fresh(self, pk: object) -> Volume:
        with every_tenant(why="test"):
            return Volume.objects.select_related("guest", "pool__host", "storage_class", "tenant").get(pk=pk)

    def is_gone(self, volume: Volume) -> bool:
        with every_tenant(why="test"):
            return not Volume.objects.filter(pk=volume.pk).exists()

    def has_file(self, volume: Volume) -> bool:
        return volume_name(volume.pk) in self.bench.on_host.pools[pool_name(installation_owner())].volumes

    def plugged(self, guest: Guest, volume: Volume) -> set[str]:
        """Where the machine has the disk: ``live``, ``kept``."""
        domain = self.bench.on_host.domains[str(guest.pk)]
        assert domain.spec is not None
        found = {"kept": domain.spec.disks, "live": domain.live if domain.power in ("running", "paused") else ()}
        return {where for where, disks in found.items() if any(volume.pk.hex in disk.path for disk in disks)}

    def forget_image(self) -> None:
        """The host has no copy of the image yet."""
        for pool in self.bench.on_host.pools.values():
            pool.volumes = {name: held for name, held in pool.volumes.items() if not name.startswith("img-")}

    def clear(self) -> None:
        """No volume without a machine any more."""
        with every_tenant(why="test"):
            free = list(Volume.objects.filter(guest=None))
        for volume in free:
            self.ask(volume, "delete")
        self.bench.settle()


@dataclass(frozen=True, slots=True)
class VolumeRecipe:
    """``ask`` makes what is needed and submits; afterwards the volume hangs on its machine, on none, or is gone."""

    name: str
    kind: str
    ask: Callable[[Disks], tuple[Guest | None, Volume, Operation]]
    attached: bool = False
    gone: bool = False
    size_gib: int = 1


def _create(power: Power | None, *, image: bool = False) -> Callable[[Disks], tuple[Guest | None, Volume, Operation]]:
    def ask(disks: Disks) -> tuple[Guest | None, Volume, Operation]:
        guest = disks.bench.guest(power) if power else None
        if image:
            disks.forget_image()
        return guest, *disks.ask_create(guest, image=image)

    return ask


def _attach(power: Power) -> Callable[[Disks], tuple[Guest | None, Volume, Operation]]:
    def ask(disks: Disks) -> tuple[Guest | None, Volume, Operation]:
        guest, volume = disks.bench.guest(power), disks.volume()
        return guest, volume, disks.ask(volume, "attach", guest)

    return ask


def _plugged(power: Power, verb: str, **more: object) -> Callable[[Disks], tuple[Guest | None, Volume, Operation]]:
    def ask(disks: Disks) -> tuple[Guest | None, Volume, Operation]:
        guest = disks.bench.guest(power)
        volume = disks.volume(guest)
        return guest, volume, disks.ask(volume, verb, **more)

    return ask


def _free(verb: str, **more: object) -> Callable[[Disks], tuple[Guest | None, Volume, Operation]]:
    def ask(disks: Disks) -> tuple[Guest | None, Volume, Operation]:
        volume = disks.volume()
        return None, volume, disks.ask(volume, verb, **more)

    return ask


def _wiped(disks: Disks) -> tuple[Guest | None, Volume, Operation]:
    StorageClass.objects.update(scrub="zero")
    return _free("delete")(disks)


R, S = Power.RUNNING, Power.STOPPED
VOLUME_RECIPES = {
    recipe.name: recipe
    for recipe in (
        VolumeRecipe("create", "volume.create", _create(None)),
        VolumeRecipe("create of an image", "volume.create", _create(None, image=True)),
        VolumeRecipe("create on a running machine", "volume.create", _create(R), attached=True),
        VolumeRecipe("attach to a running machine", "volume.attach", _attach(R), attached=True),
        VolumeRecipe("attach to a stopped machine", "volume.attach", _attach(S), attached=True),
        VolumeRecipe("detach from a running machine", "volume.detach", _plugged(R, "detach")),
        VolumeRecipe("detach from a stopped machine", "volume.detach", _plugged(S, "detach")),
        VolumeRecipe("extend", "volume.extend", _free("extend", size_gib=3), size_gib=3),
        VolumeRecipe(
            "extend on a running machine", "volume.extend", _plugged(R, "extend", size_gib=3), attached=True, size_gib=3
        ),
        VolumeRecipe(
            "limit on a running machine", "volume.limit", _plugged(R, "limit", iops=100, mbps=5), attached=True
        ),
        VolumeRecipe("delete", "volume.delete", _free("delete"), gone=True),
        VolumeRecipe("delete with zeros", "volume.delete", _wiped, gone=True),
    )
}
"""Every kind of operation on a volume."""
