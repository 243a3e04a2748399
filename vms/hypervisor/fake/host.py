"""A host in memory: what is on it, and the levers by which a test plays guest, operator or fate."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from vms.hypervisor.driver import (
    AgentFacts,
    HostFacts,
    Lease,
    OnClose,
    OnEvent,
    PowerEvent,
    ProbeResult,
    SeenVolume,
)
from vms.hypervisor.errors import HypervisorError, Unreachable
from vms.hypervisor.stats import DomainStats
from vms.hypervisor.xml.devices import Disk
from vms.hypervisor.xml.domain import DomainSpec
from vms.hypervisor.xml.network import NetworkSpec
from vms.hypervisor.xml.nwfilter import FilterSpec
from vms.hypervisor.xml.pool import PoolSpec
from vms.states import LOST, ON, TRAITS, Power


@dataclass(slots=True)
class FakeDomain:
    """A domain and what it does; ``spec`` is None for a foreign one."""

    uuid: str
    name: str
    spec: DomainSpec | None = None
    power: Power = Power.STOPPED
    reason: str = ""
    live_spec: DomainSpec | None = None
    """What it runs with, or ran with last; ``spec`` is for its next start."""
    modules: int = 0
    """Memory that was plugged since its start, in modules."""
    starts: int = 0
    live: tuple[Disk, ...] = ()
    """What it runs with, or ran with last."""
    trays: set[str] = field(default_factory=set)
    """The CD drives, by target, whose tray the guest has opened."""
    fleeting: bool = False
    """Is it gone as soon as it is off?"""

    def boot(self) -> None:
        """From here on it runs with what its definition says now."""
        self.live_spec, self.modules, self.trays = self.spec, 0, set()
        if self.spec is not None:
            self.live = self.spec.disks


@dataclass(slots=True)
class FakePool:
    """A pool: volumes by name, with the bytes' checksum beside each; ``spec`` of one that is not our own directory."""

    path: str
    volumes: dict[str, tuple[SeenVolume, int]] = field(default_factory=dict)
    spec: PoolSpec | None = None


@dataclass(slots=True)
class FakeKept:
    """One disk as a snapshot keeps it; of one with memory the first disk also has the domain as it ran."""

    capacity: int
    content: str
    memory: int = 0
    domain: FakeDomain | None = None


@dataclass(slots=True)
class _Fault:
    """Something that happens at the nth call of a verb: an error before or after its effect, or a long wait."""

    verb: str
    at: int
    error: HypervisorError | None = None
    after: bool = False
    release: threading.Event | None = None


@dataclass(slots=True)
class FakeHost:
    """All a host is, and a test's levers: ``calls`` counts verbs, ``deaf`` guests hear no power button and let go of no disk.

    ``written`` are a disk's first bytes by its file's path; ``checkpoints`` by domain and name, with what was written then;
    ``held`` are the domains whose disks are held open.
    """

    name: str
    facts: HostFacts
    probe: ProbeResult = field(default_factory=lambda: ProbeResult(accelerated=True, traits=TRAITS))
    domains: dict[str, FakeDomain] = field(default_factory=dict)
    pools: dict[str, FakePool] = field(default_factory=dict)
    shares: dict[str, FakePool] = field(default_factory=dict)
    """Directories, by path, that other hosts see, too: pools there are these objects."""
    networks: dict[str, NetworkSpec | None] = field(default_factory=dict)
    filters: dict[str, FilterSpec] = field(default_factory=dict)
    leases: dict[str, tuple[Lease, ...]] = field(default_factory=dict)
    agent: dict[str, AgentFacts] = field(default_factory=dict)
    passwords: dict[tuple[str, str], str] = field(default_factory=dict)
    keys: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    logs: dict[str, bytes] = field(default_factory=dict)
    stats: dict[str, DomainStats] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    """What a test wrote on a disk, by its path; ``kept`` is what snapshots hold, by path and name."""
    sent: dict[str, bytes] = field(default_factory=dict)
    """The files that were uploaded, by their place, as long as they are small."""
    kept: dict[str, dict[str, FakeKept]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    tpms: set[str] = field(default_factory=set)
    """Domains that have been on with a TPM, and whose TPM's memory nobody has taken away."""
    wiped: list[str] = field(default_factory=list)
    written: dict[str, bytes] = field(default_factory=dict)
    checkpoints: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    deaf: bool = False
    silent: bool = False
    up_s: int = 30 * 86400
    lock: threading.RLock = field(default_factory=threading.RLock)
    _faults: list[_Fault] = field(default_factory=list)
    _listeners: list[tuple[OnEvent, OnClose]] = field(default_factory=list)

    # --- levers -------------------------------------------------------------------------------------------------
    def fail(self, verb: str, error: HypervisorError, *, at: int = 1, after: bool = False) -> None:
        """The ``at``-th call of ``verb`` from now raises ``error``; ``after`` its effect, as a lost answer would."""
        self._faults.append(_Fault(verb, self.calls[verb] + at, error, after))

    def hang(self, verb: str, *, at: int = 1) -> threading.Event:
        """The ``at``-th call of ``verb`` from now blocks until the event returned is set."""
        release = threading.Event()
        self._faults.append(_Fault(verb, self.calls[verb] + at, release=release))
        return release

    def heal(self) -> None:
        """What was planned to fail and has not happened yet does not happen any more."""
        self._faults.clear()

    def fall_silent(self, reason: str = "keepalive") -> None:
        """From now on nothing answers; listeners hear that the connection closed."""
        self.silent = True
        for _event, on_close in list(self._listeners):
            on_close(reason)
        self._listeners.clear()

    def speak_again(self) -> None:
        self.silent = False

    def restart(self) -> None:
        """Its power was cut and is back: definitions and saved memory are there, and nothing runs. Nobody hears of it."""
        with self.lock:
            self.silent, self.up_s = False, 30
            self._listeners.clear()
            self.held.clear()
            for domain in list(self.domains.values()):
                if domain.power != Power.SUSPENDED:
                    self.turn(domain, Power.STOPPED, LOST)

    def happen(self, uuid: str, power: Power, reason: str = "") -> None:
        """The guest, its operator or fate changed the domain: tell the listeners as libvirt would."""
        with self.lock:
            domain = self.domains[uuid]
            if power in ON and domain.power not in {*ON, Power.SUSPENDED}:
                domain.boot()
            self.turn(domain, power, reason)
        self.announce(PowerEvent(uuid, power, reason))

    def plant_domain(self, uuid: str, name: str) -> None:
        """A domain that is not ours."""
        self.domains[uuid] = FakeDomain(uuid, name)

    def plant_network(self, name: str) -> None:
        """A network that is not ours."""
        self.networks[name] = None

    def forget_moments(self) -> None:
        """Every connection ended: what lived only with one is gone."""
        for domain in [each for each in self.domains.values() if each.fleeting]:
            self.happen(domain.uuid, Power.STOPPED, "destroyed")

    # --- for the driver -----------------------------------------------------------------------------------------
    def turn(self, domain: FakeDomain, power: Power, reason: str) -> None:
        """The domain does this now; one that is there only for a moment is gone when it is off, with its TPM."""
        domain.power, domain.reason = power, reason
        if domain.fleeting and power not in ON:
            self.domains.pop(domain.uuid, None)
            self.tpms.discard(domain.uuid)

    def announce(self, event: PowerEvent) -> None:
        for on_event, _close in list(self._listeners):
            on_event(event)

    def listen(self, on_event: OnEvent, on_close: OnClose) -> None:
        self._listeners.append((on_event, on_close))

    @contextlib.contextmanager
    def call(self, verb: str) -> Iterator[None]:
        """Around every verb: count it, be silent, fail or hang where a test asked for that."""
        self.calls[verb] += 1
        due = [fault for fault in self._faults if fault.verb == verb and fault.at == self.calls[verb]]
        for fault in due:
            self._faults.remove(fault)
            if fault.release is not None:
                fault.release.wait()
            if fault.error is not None and not fault.after:
                raise fault.error
        if self.silent:
            raise Unreachable(f"fake://{self.name} is silent")
        with self.lock:
            yield
        for fault in due:
            if fault.error is not None:
                raise fault.error


_hosts: dict[str, FakeHost] = {}


def host(name: str) -> FakeHost:
    """The host behind ``fake://NAME``; made when first asked for."""
    return _hosts.setdefault(name, FakeHost(name, _facts(name)))


def forget_hosts() -> None:
    """Start over: between tests."""
    _hosts.clear()


def _facts(name: str) -> HostFacts:
    return HostFacts(
        hostname=name,
        arch="x86_64",
        cpus=8,
        memory_mib=32768,
        cpu_model="Skylake-Server",
        libvirt_version="9.0.0",
        qemu_version="7.2.0",
        domain_types=("kvm", "qemu"),
        machines=("pc", "q35"),
        emulator="/usr/bin/qemu-system-x86_64",
    )


def filters_under(host: FakeHost, domain: FakeDomain) -> frozenset[str]:
    """The filters of a domain's cards, with those that they name."""
    nics = () if domain.spec is None else domain.spec.nics
    first = {nic.filter.name for nic in nics if nic.filter}
    below = {name for each in first if each in host.filters for name in host.filters[each].refs}
    return frozenset(first | below)
