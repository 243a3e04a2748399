"""A world for the driver's contract: the host in memory and a real libvirt host, behind the same few words."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import pytest

from tests.lab.hosts import Host
from vms.hypervisor import fake, libvirt_driver
from vms.hypervisor.driver import Hypervisor, Owner, PowerEvent, Roots
from vms.hypervisor.errors import HypervisorError
from vms.hypervisor.xml.domain import DomainSpec, Serial, Tag, Vnc
from vms.hypervisor.xml.network import NetworkSpec

OWNER = Owner("contract", 1)
STRANGER = Owner("somebody-else", 1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden XML files anew; review reads them")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden", default=False))


class Backstage(Protocol):
    """What an operator can do on a host behind the portal's back."""

    def plant_domain(self, uuid: str, name: str) -> None: ...
    def plant_network(self, name: str) -> None: ...
    def remove_planted(self) -> None: ...
    def tpms(self) -> set[str]:
        """The domains whose TPM's memory lies on the host."""


@dataclass
class World:
    """One host under test, its connection, and where files may lie."""

    hypervisor: Hypervisor
    backstage: Backstage
    pool_path: Path
    run_dir: Path
    events: list[PowerEvent] = field(default_factory=list)
    pool: str = "gh-contract"

    @property
    def roots(self) -> Roots:
        return Roots(storage=(str(self.pool_path),), run=(str(self.run_dir),), log=(str(self.run_dir),))

    def spec(self, name: str = "gh-contract-a", **changes: object) -> DomainSpec:
        """A machine without a disk: its firmware runs, and that is all a power button needs."""
        identity = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
        spec = DomainSpec(
            uuid=identity,
            name=name,
            tag=Tag(owner=OWNER, subject=f"guest-{name}", tenant="acme", generation=2),
            vcpus=1,
            memory_mib=32,
            tb_cache_mib=16,
            vnc=Vnc(socket=str(self.run_dir / f"{name}.vnc"), password="s3cretpw"),
            serial=Serial(socket=str(self.run_dir / f"{name}.serial"), log=str(self.run_dir / f"{name}.log")),
        )
        return replace(spec, **changes)  # type: ignore[arg-type]

    def defined(self, name: str = "gh-contract-a", **changes: object) -> DomainSpec:
        spec = self.spec(name, **changes)
        self.hypervisor.define(spec, roots=self.roots)
        return spec

    def network(self, name: str = "gh-contract-n", **changes: object) -> NetworkSpec:
        spec = NetworkSpec(
            name=name,
            tag=Tag(owner=OWNER, subject="net-1", tenant="acme"),
            bridge="ghcontract0",
            gateway="10.93.0.1",
            prefix=24,
        )
        return replace(spec, **changes)  # type: ignore[arg-type]

    def remembered(self, uuid: str) -> bool:
        """Does the host keep a TPM's memory of that domain?"""
        return uuid in self.backstage.tpms()

    def clear(self) -> None:
        """Leave the host as it was found."""
        self.backstage.remove_planted()
        for domain in self.hypervisor.domains():
            self.hypervisor.pull_plug(domain.uuid)
            if domain.owner == OWNER:
                self.hypervisor.undefine(domain.uuid, owner=OWNER)
        for network in self.hypervisor.networks():
            if network.owner == OWNER:
                self.hypervisor.remove_network(network.name, owner=OWNER)
        for name in self.hypervisor.filters():
            if name.startswith("gh-contract"):
                self.hypervisor.remove_filter(name)
        if self.hypervisor.pool(self.pool):
            for volume in self.hypervisor.volumes(self.pool):
                self.hypervisor.delete_volume(self.pool, volume.name)
            self.hypervisor.remove_pool(self.pool)


class FakeBackstage:
    def __init__(self, host: fake.FakeHost) -> None:
        self._host = host

    def plant_domain(self, uuid: str, name: str) -> None:
        self._host.plant_domain(uuid, name)

    def plant_network(self, name: str) -> None:
        self._host.plant_network(name)

    def remove_planted(self) -> None:
        self._host.domains = {key: each for key, each in self._host.domains.items() if each.spec}
        self._host.networks = {key: each for key, each in self._host.networks.items() if each}

    def tpms(self) -> set[str]:
        return set(self._host.tpms)


class VirshBackstage:
    def __init__(self, host: Host, folder: Path) -> None:
        self._host = host
        self._folder = folder
        self._planted: list[tuple[str, str]] = []

    def plant_domain(self, uuid: str, name: str) -> None:
        self._define(
            "undefine",
            name,
            "define",
            f"""
            <domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>16</memory>
            <os><type arch='x86_64'>hvm</type></os></domain>""",
        )

    def plant_network(self, name: str) -> None:
        self._define("net-undefine", name, "net-define", f"<network><name>{name}</name></network>")

    def remove_planted(self) -> None:
        for undo, name in self._planted:
            self._host.virsh(undo, name)
        self._planted.clear()

    def tpms(self) -> set[str]:
        folder = self._host.directory / "root" / "lib" / "swtpm"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def _define(self, undo: str, name: str, verb: str, xml: str) -> None:
        path = self._folder / f"{name}.xml"
        path.write_text(xml)
        self._host.virsh(verb, path)
        self._planted.append((undo, name))


@pytest.fixture(params=["fake", pytest.param("libvirt", marks=pytest.mark.xdist_group("machine"))])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The same promises are tried on both; the real host is cleared after each test."""
    made = fake_world() if request.param == "fake" else libvirt_world(request.getfixturevalue("lab_host"), tmp_path)
    made.hypervisor.subscribe(made.events.append, lambda _reason: None)
    yield made
    made.clear()
    made.hypervisor.close()


def fake_world() -> World:
    """A host in memory, as new."""
    fake.forget_hosts()
    host = fake.host("contract")
    return World(fake.connect("fake://contract"), FakeBackstage(host), Path("/srv/pool"), Path("/srv/run"))


def libvirt_world(host: Host, folder: Path) -> World:
    """A real host; whoever asks for it clears it."""
    hypervisor = libvirt_driver.connect(host.uri)
    assert not isinstance(hypervisor, HypervisorError)
    return World(hypervisor, VirshBackstage(host, folder), host.pool_dir / "contract", host.run_dir)
