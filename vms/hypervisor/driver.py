"""The one interface between the portal and a host, and the plain data that crosses it.

No Django, no libvirt here. Every verb is safe to repeat: it reads what is so, and does nothing where it already is as
asked. Every verb raises only subclasses of ``HypervisorError``. Whatever the portal makes carries an ``Owner``;
whatever does not carry ours is reported as foreign and never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from vms.hypervisor.backups import Backups
from vms.hypervisor.cards import Cards
from vms.hypervisor.copies import Copies
from vms.hypervisor.discs import Discs
from vms.hypervisor.disks import Disks
from vms.hypervisor.inside import Inside
from vms.hypervisor.members import Members
from vms.hypervisor.moments import Moments
from vms.hypervisor.pools import Pools
from vms.hypervisor.sizes import Sizes
from vms.hypervisor.snapshots import Snapshots
from vms.hypervisor.stats import DomainStats
from vms.hypervisor.xml.domain import DomainSpec
from vms.hypervisor.xml.metadata import Owner
from vms.hypervisor.xml.network import NetworkSpec
from vms.hypervisor.xml.nwfilter import FilterSpec
from vms.states import Power, Trait


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """The only folders a domain may name files in: ``storage`` for disks, ``run`` for sockets, ``log`` for serial logs.

    ``block`` are folders of volume groups, whose volumes are disks; ``ceph`` pools of a cluster. Absolute paths. A definition
    that reaches outside is refused before libvirt sees it.
    """

    storage: tuple[str, ...]
    run: tuple[str, ...]
    log: tuple[str, ...]
    block: tuple[str, ...] = ()
    ceph: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host says of itself; sizes in MiB."""

    hostname: str
    arch: str
    cpus: int
    memory_mib: int
    cpu_model: str
    libvirt_version: str
    qemu_version: str
    domain_types: tuple[str, ...]
    machines: tuple[str, ...]
    emulator: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a short-lived test guest showed: may ``type='kvm'`` be used, and which limits does this host not enforce.

    ``unenforced`` names features among ``bandwidth``, ``cputune``, ``groups``, ``iotune``, ``memtune``, ``nwfilter``; ``notes``
    are sentences for the operator, one a finding. ``traits`` are what machines can be built of there.
    """

    accelerated: bool
    traits: tuple[Trait, ...] = ()
    unenforced: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeenDomain:
    """One domain as found on a host; ``owner`` is None for a foreign one.

    ``reason`` is one word: ``crashed``, ``io_error``, ``watchdog``, ``saved``, … or empty. ``guest``, ``tenant`` and
    ``generation`` come from our metadata. The sockets stay named while the domain is off.
    """

    uuid: str
    name: str
    power: Power
    reason: str = ""
    owner: Owner | None = None
    guest: str = ""
    tenant: str = ""
    generation: int = 0
    autostart: bool = False
    vnc_socket: str = ""
    serial_socket: str = ""


@dataclass(frozen=True, slots=True)
class SeenPool:
    """A storage pool's figures in bytes."""

    name: str
    path: str
    capacity: int
    allocation: int
    available: int


@dataclass(frozen=True, slots=True)
class SeenVolume:
    """A volume in one of our pools; sizes in bytes."""

    name: str
    path: str
    format: str
    capacity: int
    allocation: int
    backing_path: str = ""


@dataclass(frozen=True, slots=True)
class SeenNetwork:
    """A libvirt network; ``owner`` None when it is not ours."""

    name: str
    bridge: str
    active: bool
    owner: Owner | None = None
    network: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """An address a guest holds, by DHCP on a network of ours."""

    mac: str
    ip: str
    hostname: str


@dataclass(frozen=True, slots=True)
class PowerEvent:
    """A domain changed on a host. ``power`` is what to believe until the next look; UNKNOWN asks for that look."""

    domain: str
    power: Power
    reason: str
    rebooted: bool = False


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What a guest says of itself: hostile text, capped, only ever displayed as "reported by the guest"."""

    hostname: str = ""
    os_name: str = ""
    addresses: tuple[str, ...] = field(default_factory=tuple)


type OnEvent = Callable[[PowerEvent], None]
type OnClose = Callable[[str], None]


class Hypervisor(Backups, Cards, Copies, Discs, Disks, Inside, Members, Moments, Pools, Sizes, Snapshots, Protocol):
    """A live connection to one host; the modules of the protocols it is made of have more verbs."""

    # --- the host -----------------------------------------------------------------------------------------------
    def facts(self) -> HostFacts: ...
    def up_s(self) -> int:
        """For how long the host itself is up, in seconds: less than before only where it has begun anew."""

    def probe(self, *, owner: Owner) -> ProbeResult:
        """Start a throw-away guest for a moment and look; leaves nothing behind."""

    def alive(self, *, deadline_s: float = 2.0) -> None:
        """Raise ``Unreachable`` unless the daemon answers within the deadline."""

    def close(self) -> None: ...

    # --- domains ------------------------------------------------------------------------------------------------
    def domains(self) -> tuple[SeenDomain, ...]:
        """Every domain of the host, ours and foreign, without asking any guest's monitor."""

    def domain(self, uuid: str) -> SeenDomain | None: ...
    def domain_xml(self, uuid: str) -> str:
        """The live XML where it runs, else the inactive one; without secrets."""

    def define(self, spec: DomainSpec, *, roots: Roots) -> None:
        """Define or redefine; ``Refused`` where uuid or name is somebody else's, or the XML leaves the allow-list."""

    def undefine(self, uuid: str, *, owner: Owner, keep_firmware: bool = False) -> None:
        """Remove the definition and saved state of a domain that does not run; missing is fine.

        With it goes what its firmware and its TPM remember, unless ``keep_firmware``: then a domain of that uuid that is
        defined later finds it again.
        """

    def start(self, uuid: str) -> None:
        """Power on, or wake from a saved state. Running is fine."""

    def press_power(self, uuid: str) -> None:
        """Press the ACPI power button once; does not wait."""

    def press_reset_acpi(self, uuid: str) -> None:
        """Ask the guest to reboot by itself (ACPI or agent); does not wait."""

    def pull_plug(self, uuid: str) -> None:
        """Power off at once. Stopped or missing is fine."""

    def reset(self, uuid: str) -> None: ...
    def pause(self, uuid: str) -> None: ...
    def resume(self, uuid: str) -> None: ...
    def save(self, uuid: str) -> None:
        """Suspend to disk (managed save)."""

    def discard_save(self, uuid: str) -> None: ...
    def wait_power(self, uuid: str, wanted: frozenset[Power], *, timeout_s: float) -> Power:
        """Block until it is in one of ``wanted``; ``Busy`` at the time limit, ``Missing`` when it is gone."""

    def stats(self, uuids: Collection[str]) -> tuple[DomainStats, ...]:
        """Counters of those of ``uuids`` that run, by one call however many; who could not be asked now is left out.

        May block for as long as a guest is frozen: never on a thread that has something else to do.
        """

    def card_traffic(self, uuid: str) -> DomainStats | None:
        """Of a domain that runs, its cards' counters alone; None of any other. A frozen guest does not hold it up."""

    def agent_facts(self, uuid: str) -> AgentFacts:
        """Ask the guest agent, at most 5 s and 64 KiB; empty facts where it is silent."""

    def screenshot(self, uuid: str) -> bytes:
        """The guest's screen as PNG (or PPM) bytes."""

    # --- storage ------------------------------------------------------------------------------------------------
    def ensure_pool(self, name: str, path: str) -> SeenPool:
        """A directory pool, defined, built (0711), started."""

    def pool(self, name: str) -> SeenPool | None: ...
    def remove_pool(self, name: str) -> None:
        """Forget the pool (never deletes volumes)."""

    def volumes(self, pool: str) -> tuple[SeenVolume, ...]: ...
    def volume(self, pool: str, name: str) -> SeenVolume | None: ...
    def upload_volume(
        self,
        pool: str,
        name: str,
        source: Path,
        *,
        disk_format: str,
        progress: Callable[[int], None] | None = None,
    ) -> SeenVolume:
        """Make the volume hold exactly the file's bytes; a half-made one of the same name is replaced.

        For images and seeds, which no guest writes. ``progress`` is called with the bytes sent so far.
        """

    def create_overlay(self, pool: str, name: str, *, base: str, capacity: int, base_pool: str = "") -> SeenVolume:
        """A qcow2 volume of ``capacity`` bytes over the volume ``base`` of the same pool, or of ``base_pool``."""

    def create_empty(self, pool: str, name: str, *, capacity: int, disk_format: str = "qcow2") -> SeenVolume: ...
    def delete_volume(self, pool: str, name: str) -> None: ...

    # --- networks -----------------------------------------------------------------------------------------------
    def networks(self) -> tuple[SeenNetwork, ...]: ...
    def networks_running(self) -> tuple[str, ...]:
        """Their names only, foreign ones among them: one call, however many there are."""

    def ensure_network(self, spec: NetworkSpec) -> SeenNetwork:
        """Defined as the spec says, started, autostarted. DHCP hosts are brought in line live, without a restart."""

    def remove_network(self, name: str, *, owner: Owner) -> None: ...
    def leases(self, name: str) -> tuple[Lease, ...]: ...
    def filters(self) -> tuple[str, ...]: ...
    def ensure_filter(self, spec: FilterSpec) -> None: ...
    def remove_filter(self, name: str) -> None: ...
    def filter(self, name: str) -> FilterSpec | None: ...

    # --- events -------------------------------------------------------------------------------------------------
    def subscribe(self, on_event: OnEvent, on_close: OnClose) -> None:
        """Deliver lifecycle events from libvirt's thread; the callbacks must not block."""


type Connector = Callable[[str], Hypervisor]
type Domains = Sequence[SeenDomain]
type Chunks = Iterator[bytes]
