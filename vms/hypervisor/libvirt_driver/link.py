"""The live connection all nouns of the driver share."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import libvirt

from vms.hypervisor.driver import HostFacts
from vms.hypervisor.errors import HypervisorError, Refused, Unreachable
from vms.hypervisor.libvirt_driver import loop, wire
from vms.hypervisor.libvirt_driver.translate import translate, translated
from vms.hypervisor.xml.metadata import Owner, Tag
from vms.hypervisor.xml.parse import root_of

KEEPALIVE_S, KEEPALIVE_MISSES = 5, 3

# libvirt prints every error on stderr, the expected ones too, unless somebody takes them; ours come as exceptions.
libvirt.registerErrorHandler(lambda _context, _error: None, None)


class Link:
    """An open connection; ``raw`` is libvirt's object, which is thread-safe."""

    def __init__(self, uri: str, raw: Any) -> None:
        self.uri = uri
        self.raw = raw

    def alive(self, *, deadline_s: float = 2.0) -> None:
        try:
            wire.knock(self.uri, deadline_s=deadline_s)
        except OSError as error:
            raise Unreachable(f"{self.uri}: {error}") from error
        if not self.raw.isAlive():
            raise Unreachable(f"{self.uri}: the connection is closed")

    def close(self) -> None:
        """Let go of the connection; a broken one is as good as closed."""
        with contextlib.suppress(libvirt.libvirtError):
            self.raw.close()

    def up_s(self) -> int:
        """See the protocol. What its processors have done and not done since then, together, by their number.

        Source: https://libvirt.org/html/libvirt-libvirt-host.html#virNodeGetCPUStats
        """
        with translated("read how long the host is up"):
            spent: dict[str, int] = self.raw.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS, 0)
            cpus = max(1, int(self.raw.getInfo()[2]))
            return sum(spent.values()) // (cpus * 1_000_000_000)

    def facts(self) -> HostFacts:
        with translated("read the host's facts"):
            capabilities = root_of(self.raw.getCapabilities())
            arch = capabilities.findtext("host/cpu/arch", "")
            _model, memory_mib, cpus, *_ = self.raw.getInfo()
            native = capabilities.find(f"guest/arch[@name='{arch}']")
            if native is None:
                raise Refused(f"{self.uri}: the host offers no guests of its own architecture {arch!r}")
            return HostFacts(
                hostname=self.raw.getHostname(),
                arch=arch,
                cpus=cpus,
                memory_mib=memory_mib,
                cpu_model=capabilities.findtext("host/cpu/model", ""),
                libvirt_version=dotted(self.raw.getLibVersion()),
                qemu_version=dotted(self.raw.getVersion()),
                domain_types=tuple(sorted({each.get("type", "") for each in native.iter("domain")})),
                machines=tuple(sorted({each.text or "" for each in native.iter("machine")})),
                emulator=native.findtext("emulator", ""),
            )


def dotted(version: int) -> str:
    """libvirt packs versions as major * 1,000,000 + minor * 1,000 + release."""
    return f"{version // 1_000_000}.{version // 1_000 % 1_000}.{version % 1_000}"


def must_be_ours(tag: Tag | None, owner: Owner, what: str) -> None:
    """Raise ``Refused`` unless ``tag`` names exactly this installation in this epoch."""
    if tag is None or tag.owner != owner:
        raise Refused(f"{what} does not belong to this portal")


def open_raw(uri: str, *, deadline_s: float) -> Any:
    """A connection with keepalive, or ``Unreachable`` within about twice ``deadline_s``.

    ``open`` cannot be interrupted, so it runs in a thread that is left behind when it does not come back.
    """
    try:
        wire.knock(uri, deadline_s=deadline_s)
    except OSError as error:
        raise Unreachable(f"{uri}: {error}") from error
    loop.ensure_running()
    opening = _Opening(uri)
    if not opening.done.wait(deadline_s):
        opening.abandon()
        raise Unreachable(f"{uri}: no connection within {deadline_s} s")
    if opening.error:
        raise opening.error
    return opening.raw


class _Opening:
    """One attempt to open a connection in a thread of its own."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.raw: Any = None
        self.error: HypervisorError | None = None
        self.done = threading.Event()
        self._lock = threading.Lock()
        self._abandoned = False
        threading.Thread(target=self._run, name=f"open {uri}", daemon=True).start()

    def abandon(self) -> None:
        """Nobody waits any more: whatever still opens is closed at once."""
        with self._lock:
            self._abandoned = True
            if self.raw is not None:
                self.raw.close()

    def _run(self) -> None:
        try:
            raw = libvirt.open(self.uri)
            # Drivers inside this process (test:///) know no keepalive, and need none.
            with contextlib.suppress(libvirt.libvirtError):
                raw.setKeepAlive(KEEPALIVE_S, KEEPALIVE_MISSES)
        except libvirt.libvirtError as error:
            found = translate(error, f"open {self.uri}")
            self.error = found if isinstance(found, Unreachable) else Unreachable(found.detail)
        else:
            with self._lock:
                self.raw = raw
                if self._abandoned:
                    raw.close()
        finally:
            self.done.set()
