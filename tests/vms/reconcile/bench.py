"""A tenant, a host in memory and an image on disk: machines are asked for by services and made by the real handlers."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import vms.handlers  # noqa: F401  (registers the handlers)
from operations.models import Operation
from operations.runner import run
from operations.services import lane_open, operations_expire
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.quota import RESOURCES
from tests import factories
from vms.hypervisor import fake
from vms.hypervisor.driver import AgentFacts
from vms.hypervisor.fake import FakeHost
from vms.models import Disc, Guest, Image, SecurityGroup
from vms.models.readings import ReadingKind
from vms.reconcile.audit import audit
from vms.services.discs import disc_eject, disc_insert
from vms.services.guarding import port_guard
from vms.services.guests import (
    guest_add_keys,
    guest_create,
    guest_delete,
    guest_look,
    guest_power,
    guest_rebuild,
    guest_rescue,
    guest_resize,
    guest_restore,
    guest_set_password,
    guest_unrescue,
)
from vms.services.hosts import host_enrol, host_record_facts, host_record_heartbeat
from vms.services.images import image_path
from vms.services.limiting import port_limit
from vms.services.ports import port_attach, port_detach
from vms.services.readdress import port_readdress
from vms.services.security_groups import group_create
from vms.specs import GuestSpec
from vms.states import Power

KEY = factories.public_key()
SIZE = 64 * 1024 * 1024
CONTENT = b"QFI\xfb" + struct.pack(">IQIIQ", 3, 0, 0, 16, SIZE) + bytes(4096)
_numbers = itertools.count(1)


class Bench:
    """What the tests of reconciling work on; ``on_host`` is the host's levers."""

    def __init__(self, data: Path) -> None:
        self.name = f"bench-{next(_numbers)}"
        self.on_host: FakeHost = fake.host(self.name)
        self.enrol(f"fake://{self.name}", data_dir=f"/data/{self.name}", run_dir=f"/run/{self.name}")
        host_record_facts(self.host, facts={}, cpus=64, memory_mib=256 * 1024)
        self.image = factories.image("tiny", virtual_size=SIZE, size=4096)
        self.place_image(CONTENT)
        self._cd: Image | None = None

    def enrol(self, uri: str, *, data_dir: str, run_dir: str) -> None:
        """The host, tested and heard, and a tenant without limits."""
        self.furnish: Callable[[Guest], object] = lambda _guest: None
        """What a machine is given besides as soon as it is there."""
        factories.installation()
        with every_tenant(why="test"):
            self.host, probe = host_enrol(
                uri=uri, name=self.name, data_dir=data_dir, run_dir=run_dir, actor=factories.desk()
            )
        assert run(probe.pk) == "succeeded"
        host_record_heartbeat(self.host)
        self.host.refresh_from_db()
        self.house = factories.tenant_with_owner(limits=dict.fromkeys(RESOURCES))
        self.flavor = factories.flavor("small")
        self.larger = factories.flavor("larger", vcpus=2, memory_mib=512, disk_gib=2)

    @property
    def cd(self) -> Image:
        """An image that is a CD; made with its first need."""
        if self._cd is None:
            self._cd = factories.disc_image()
            image_path(self._cd).write_bytes(CONTENT)
        return self._cd

    def disc(self, guest: Guest) -> Disc:
        """A CD that lies in the machine's drive."""
        assert run(self.ask(guest, "insert").pk) == "succeeded"
        with every_tenant(why="test"):
            return Disc.objects.select_related("guest", "image").filter(guest=guest).latest("drive")

    def place_image(self, content: bytes) -> None:
        path = image_path(self.image)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    # --- asking -----------------------------------------------------------------------------------------------------
    def ask_create(self, name: str = "", *, start: bool = True) -> tuple[Guest, Operation]:
        with tenant_scope(self.house.tenant):
            spec = GuestSpec(name=name or f"g{next(_numbers)}", flavor=self.flavor, image=self.image, start=start)
            operation = guest_create(self.house.tenant, spec, actor=self.house.actor)
            self.let_speak(operation.subject_id)
            return Guest.objects.select_related("tenant", "host").get(pk=operation.subject_id), operation

    def let_speak(self, pk: UUID) -> None:
        """A machine's agent answers from its first moment."""
        self.on_host.agent[str(pk)] = AgentFacts("web", "Tiny 1", ("10.0.0.2",))

    def ask(self, guest: Guest, action: str) -> Operation:
        """A power action, ``delete``, ``purge``, ``restore``, or one of ``_deeds``."""
        with tenant_scope(self.house.tenant):
            guest.refresh_from_db()
            if action in ("delete", "purge"):
                return guest_delete(guest, actor=self.house.actor, purge=action == "purge")
            if action == "restore":
                return guest_restore(guest, actor=self.house.actor)
            deed = self._deeds().get(action)
            if deed is not None:
                return deed(guest)
            return guest_power(guest, action, actor=self.house.actor)

    def _deeds(self) -> dict[str, Callable[[Guest], Operation]]:
        actor = self.house.actor
        return {
            "resize": lambda guest: guest_resize(guest, self.larger, actor=actor),
            "rebuild": lambda guest: guest_rebuild(guest, self.image, actor=actor),
            "rescue": lambda guest: guest_rescue(guest, self.image, actor=actor),
            "password": lambda guest: guest_set_password(guest, "correct horse", actor=actor),
            "keys": lambda guest: guest_add_keys(guest, [KEY], actor=actor),
            "look": lambda guest: guest_look(guest, ReadingKind.FACTS, actor=actor),
            "unrescue": lambda guest: guest_unrescue(guest, actor=actor),
            "insert": lambda guest: disc_insert(guest, self.cd, actor=actor),
            "attach_port": lambda guest: port_attach(guest, factories.network(self.house), actor=actor),
            "detach_port": lambda guest: port_detach(
                guest.ports.select_related("guest").latest("position"), actor=actor
            ),
            "readdress": lambda guest: port_readdress(
                guest.ports.select_related("guest").latest("position"), actor=actor
            ),
            "limit_port": lambda guest: port_limit(
                guest.ports.select_related("guest").latest("position"), actor=actor, in_mbit=5, out_mbit=6
            ),
            "guard": self._guard,
            "eject": lambda guest: disc_eject(guest.discs.select_related("guest").latest("drive"), actor=actor),
        }

    def _guard(self, guest: Guest) -> Operation:
        group = SecurityGroup.objects.filter(name="other").first()
        group = group or group_create(self.house.tenant, name="other", actor=self.house.actor)
        return port_guard(guest.ports.select_related("guest").latest("position"), [group], actor=self.house.actor)

    def rescued(self) -> Guest:
        """A machine that runs from its rescue disk."""
        guest = self.guest()
        assert run(self.ask(guest, "rescue").pk) == "succeeded"
        return self.fresh(guest)

    def guest(self, power: Power = Power.RUNNING) -> Guest:
        """A machine that is really on the host, in ``power``."""
        guest, operation = self.ask_create(start=power != Power.STOPPED)
        assert run(operation.pk) == "succeeded"
        self.furnish(guest)
        for action in {Power.PAUSED: ["pause"], Power.SUSPENDED: ["suspend"]}.get(power, []):
            assert run(self.ask(guest, action).pk) == "succeeded"
        return self.fresh(guest)

    def binned(self) -> Guest:
        guest = self.guest()
        assert run(self.ask(guest, "delete").pk) == "succeeded"
        return self.fresh(guest)

    # --- looking ----------------------------------------------------------------------------------------------------
    def fresh(self, guest: Guest) -> Guest:
        with every_tenant(why="test"):
            return Guest.objects.select_related("tenant", "host").get(pk=guest.pk)

    def is_gone(self, guest: Guest) -> bool:
        with every_tenant(why="test"):
            return not Guest.objects.filter(pk=guest.pk).exists()

    def findings(self) -> list[str]:
        return audit()

    def settle(self, *, rounds: int = 20) -> None:
        """What sweep and workers do until nothing is due: lapsed leases are taken back, everything waiting is run."""
        for _ in range(rounds):
            Operation.objects.filter(status="queued").update(not_before=factories.now())
            lane_open(self.host.lane)
            due = list(operations_expire())
            if not due:
                return
            for pk in due:
                run(pk)
        raise AssertionError(f"still waiting: {list(Operation.objects.filter(status='queued'))}")
