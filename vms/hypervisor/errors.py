"""What can go wrong on a host, in five words; libvirt's own codes stay in the driver.

``detail`` is for operators and logs: it may hold paths and host names, so it is never shown to a tenant.
"""

from __future__ import annotations


class HypervisorError(Exception):
    """Base of everything a driver raises."""

    code = "hypervisor_error"

    def __init__(self, detail: str = "", *, feature: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.feature = feature


class Unreachable(HypervisorError):
    """The host did not answer in time, or the line broke: nothing is known of the effect; read again, then retry."""

    code = "host_unreachable"


class FabricSilent(Unreachable):
    """What carries networks over many hosts did not answer; the host itself may well."""

    code = "fabric_unreachable"


class Missing(HypervisorError):
    """The domain, volume, pool, network or filter named is not on the host."""

    code = "not_on_host"


class Busy(HypervisorError):
    """The object is held by another job or did not reach the asked state within the time limit."""

    code = "host_busy"


class Refused(HypervisorError):
    """The host understood and said no: bad request, no permission, or an internal failure of libvirt or QEMU."""

    code = "host_refused"


class StorageFull(Refused):
    """The pool has no room left."""

    code = "storage_full"


class NoSlot(Refused):
    """The machine runs and has no free place to plug a device into."""

    code = "no_slot"


class Unsupported(HypervisorError):
    """The host's kernel, QEMU or libvirt lacks a feature; ``feature`` names it (``bandwidth``, ``cputune``, …)."""

    code = "unsupported"


class AgentSilent(HypervisorError):
    """The guest's agent did not answer in time, is not there, or said no; nobody knows whether it did what it was asked."""

    code = "agent_silent"
