"""Find out what a host really does, by a machine that lives for a moment; nothing is believed from ``/dev/kvm``."""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import libvirt

from vms.hypervisor.driver import ProbeResult
from vms.hypervisor.errors import HypervisorError, Unreachable
from vms.hypervisor.filters import guest_filter
from vms.hypervisor.libvirt_driver.bridged import Bridged
from vms.hypervisor.libvirt_driver.traits import traits_found
from vms.hypervisor.libvirt_driver.translate import translated
from vms.hypervisor.xml.devices import Bandwidth, FilterRef
from vms.hypervisor.xml.metadata import Owner, Tag
from vms.hypervisor.xml.nwfilter import Rule
from vms.hypervisor.xml.parse import root_of
from vms.hypervisor.xml.trial import TrialDomain, TrialNetwork

SUBJECT = "trial"
"""What the metadata of everything made here says it is."""

_RUN_S = {"kvm": 3.0, "qemu": 15.0}
"""Seconds SeaBIOS gets to say its name: under KVM it takes 0.1, under TCG on a loaded host several."""

_NOISE_S = 0.5
"""How much later than emulated the accelerated firmware may speak. Where KVM itself is emulated by a host below, it
takes a hundred times as long (seen: 2.3 s against 0.03 s) and a kernel never boots."""

_TRIES = 2

_SLOW_S = 2.0
_SLOW_NOTE = (
    "libvirt needs {seconds} s to say what it can do; it starts QEMU anew for every question when QEMU's user may not "
    "open /dev/kvm: that should be root:kvm with mode 0660."
)
_POLL_S = 0.02
_QUOTA_US, _LIMIT_MIB = 50_000, 1024
_SUBNET, _GATEWAY, _ADDRESS = "198.51.100.0/24", "198.51.100.1", "198.51.100.2"
"""Addresses for documentation (RFC 5737): the trial's card has no way to anywhere."""


@dataclass(frozen=True, slots=True)
class _Limit:
    """One limit to try: the machine that asks for it, and how to see on the host that it stands."""

    feature: str
    domain: TrialDomain
    stands: Callable[[Any], bool]


class Trial(Bridged):
    """The part of the driver that tries a host out."""

    def probe(self, *, owner: Owner) -> ProbeResult:
        """See the protocol. Takes about three seconds; two at a time for one installation: the second gets ``Refused``.

        ``iotune`` is not tried: QEMU throttles by itself and needs nothing of the kernel.
        """
        kinds, notes = self._kinds()
        plain = TrialDomain(name=_name(owner), tag=Tag(owner=owner, subject=SUBJECT), kind="qemu")
        accelerated = self._is_accelerated(plain, offered="kvm" in kinds, notes=notes)
        kind: Literal["kvm", "qemu"] = "kvm" if accelerated else "qemu"
        with self._surroundings(owner, notes) as network:
            unenforced = self._unenforced(replace(plain, kind=kind), network, notes)
            if network and not self._filters_bridges(network, notes):
                unenforced.add("groups")
        traits = traits_found(self.raw, owner=owner, kind=kind, notes=notes)
        return ProbeResult(accelerated, traits, tuple(sorted(unenforced)), tuple(notes))

    # --- acceleration -------------------------------------------------------------------------------------------
    def _kinds(self) -> tuple[frozenset[str], list[str]]:
        """The domain types on offer, and a note where only asking took long."""
        start = time.monotonic()
        with translated("read capabilities"):
            capabilities = root_of(self.raw.getCapabilities())
            self.raw.getCapabilities()
        took_s = time.monotonic() - start
        kinds = frozenset(each.get("type", "") for each in capabilities.iterfind("guest/arch[@name='x86_64']/domain"))
        if took_s < _SLOW_S:
            return kinds, []
        return kinds, [_SLOW_NOTE.format(seconds=round(took_s))]

    def _is_accelerated(self, plain: TrialDomain, *, offered: bool, notes: list[str]) -> bool:
        """Whether a KVM guest executes, and no slower than an emulated one."""
        emulated_s = self._firmware_s(plain, notes)
        if not offered:
            notes.append("The host offers no hardware acceleration: guests are emulated and slow.")
            return False
        for _ in range(_TRIES):
            accelerated_s = self._firmware_s(replace(plain, kind="kvm"), notes)
            if accelerated_s is None:
                return False
            if emulated_s is None or accelerated_s <= emulated_s + _NOISE_S:
                return True
        notes.append(
            f"KVM is slower here than emulation ({accelerated_s:.2f} s against {emulated_s:.2f} s to the firmware's first "
            "word), as under a host that emulates it: guests are emulated."
        )
        return False

    def _firmware_s(self, domain: TrialDomain, notes: list[str]) -> float | None:
        """Seconds until the firmware says its name on the serial line; None, and a note why, where it does not."""
        try:
            with self._living(domain, paused=True) as raw:
                start = time.monotonic()
                reason = self._firmware_speaks(raw, _RUN_S[domain.kind])
                if not reason:
                    return time.monotonic() - start
        except Unreachable:
            raise
        except HypervisorError as error:
            reason = error.detail
        notes.append(f"A {domain.kind} guest does not execute here: {reason}")
        return None

    def _firmware_speaks(self, raw: Any, within_s: float) -> str:
        """Empty when it speaks, else why not."""
        with translated("watch the trial's serial line"):
            stream = self.raw.newStream(libvirt.VIR_STREAM_NONBLOCK)
            raw.openConsole(None, stream, 0)
            try:
                raw.resume()
                return _await_firmware(raw, stream, time.monotonic() + within_s)
            finally:
                with contextlib.suppress(libvirt.libvirtError):
                    stream.abort()

    # --- limits -------------------------------------------------------------------------------------------------
    def _unenforced(self, plain: TrialDomain, network: str, notes: list[str]) -> set[str]:
        """All limits in one machine; only where that fails, one machine a limit."""
        limits = _limits(plain, network)
        everything = replace(
            plain,
            cpu_quota_us=_QUOTA_US,
            memory_limit_mib=_LIMIT_MIB,
            network=network,
            bandwidth=_BANDWIDTH if network else None,
            filter=FilterRef(name=plain.name, ip=_ADDRESS) if network else None,
        )
        missing = set() if network else {"bandwidth", "nwfilter"}
        if self._failure(everything, lambda raw: all(limit.stands(raw) for limit in limits)) is None:
            return missing
        for limit in limits:
            failure = self._failure(limit.domain, limit.stands)
            if failure is not None:
                missing.add(limit.feature)
                notes.append(f"This host does not enforce {limit.feature}: {failure}")
        return missing

    def _failure(self, domain: TrialDomain, stands: Callable[[Any], bool]) -> str | None:
        """None when the machine starts and its limits stand, else what the host said."""
        try:
            with self._living(domain) as raw, translated("read limits back"):
                return None if stands(raw) else "it is accepted, but does not stand in the kernel."
        except Unreachable:
            raise
        except HypervisorError as error:
            return error.detail

    # --- what is made and taken away ----------------------------------------------------------------------------
    @contextlib.contextmanager
    def _living(self, domain: TrialDomain, *, paused: bool = False) -> Iterator[Any]:
        """A running trial machine; the host takes it away by itself when our connection ends."""
        flags = libvirt.VIR_DOMAIN_START_AUTODESTROY | (libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
        with translated("start the trial machine"):
            raw = self.raw.createXML(domain.xml(), flags)
        try:
            yield raw
        finally:
            with contextlib.suppress(libvirt.libvirtError):
                raw.destroy()

    @contextlib.contextmanager
    def _surroundings(self, owner: Owner, notes: list[str]) -> Iterator[str]:
        """A network and a filter for the trial's card; yields the network's name, empty where none could be made."""
        name = _name(owner)
        network = TrialNetwork(name=name, bridge=_bridge(owner), tag=Tag(owner=owner, subject=SUBJECT))
        self._remove_surroundings(name)
        made = ""
        try:
            with translated("make the trial's network and filter"):
                plain = guest_filter(name=name, subnet=_SUBNET, gateway=_GATEWAY)
                stateful = Rule("drop", "inout", 900, "all")  # as groups have them: these need more of the host
                self.raw.nwfilterDefineXML(replace(plain, rules=(*plain.rules, stateful)).xml())
                self.raw.networkCreateXML(network.xml())
            made = name
        except Unreachable:
            raise
        except HypervisorError as error:
            notes.append(f"This host makes no networks or filters: {error.detail}")
        try:
            yield made
        finally:
            self._remove_surroundings(name)

    def _remove_surroundings(self, name: str) -> None:
        """Also what a worker that died in its trial left behind; the name is this installation's own."""
        with contextlib.suppress(libvirt.libvirtError):
            self.raw.networkLookupByName(name).destroy()
        with contextlib.suppress(libvirt.libvirtError):
            self.raw.nwfilterLookupByName(name).undefine()


_BANDWIDTH = Bandwidth(inbound_kbit=10_000, outbound_kbit=10_000)


def _limits(plain: TrialDomain, network: str) -> tuple[_Limit, ...]:
    cpu = _Limit(
        "cputune",
        replace(plain, cpu_quota_us=_QUOTA_US),
        lambda raw: bool(raw.schedulerParameters().get("vcpu_quota") == _QUOTA_US),
    )
    memory = _Limit(
        "memtune",
        replace(plain, memory_limit_mib=_LIMIT_MIB),
        lambda raw: bool(raw.memoryParameters().get("hard_limit") == _LIMIT_MIB * 1024),
    )
    if not network:
        return cpu, memory
    card = replace(plain, network=network)
    bandwidth = _Limit("bandwidth", replace(card, bandwidth=_BANDWIDTH), _is_true)
    filtered = _Limit("nwfilter", replace(card, filter=FilterRef(name=plain.name, ip=_ADDRESS)), _is_true)
    return cpu, memory, bandwidth, filtered


def _is_true(_raw: Any) -> bool:
    """For limits libvirt itself sets up or fails over: a machine that started has them."""
    return True


def _await_firmware(raw: Any, stream: Any, end: float) -> str:
    heard = b""
    while time.monotonic() < end:
        chunk = stream.recv(4096)
        # -2 says that nothing is there yet.
        if isinstance(chunk, bytes):
            heard += chunk
            if b"SeaBIOS" in heard:
                return ""
        state, _reason = raw.state()
        if state not in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED):
            return f"it stopped by itself (state {state})."
        time.sleep(_POLL_S)
    return "its firmware stays silent."


def _name(owner: Owner) -> str:
    return f"gh-{owner.installation}-{SUBJECT}"


def _bridge(owner: Owner) -> str:
    """At most 15 characters, the same for the same installation."""
    return f"ght{zlib.crc32(owner.installation.encode()):08x}"
