"""libvirt's domain states and lifecycle events → ``Power`` and a reason; pure tables."""

from __future__ import annotations

import libvirt

from vms.hypervisor.driver import PowerEvent
from vms.states import LOST, Power

_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    # ACPI shutdown under way: the machine still executes.
    libvirt.VIR_DOMAIN_SHUTDOWN: Power.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Power.PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF: Power.STOPPED,
    libvirt.VIR_DOMAIN_CRASHED: Power.CRASHED,
}

_PAUSED_REASONS = {
    libvirt.VIR_DOMAIN_PAUSED_USER: "paused",
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION: "migration",
    libvirt.VIR_DOMAIN_PAUSED_SAVE: "saving",
    libvirt.VIR_DOMAIN_PAUSED_DUMP: "dump",
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: "io_error",
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "watchdog",
    libvirt.VIR_DOMAIN_PAUSED_FROM_SNAPSHOT: "snapshot",
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: "shutting_down",
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT: "snapshot",
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: "starting",
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY: "migration",
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: "migration_failed",
}

_SHUTOFF_REASONS = {
    # libvirt keeps no reason over its own end: so says a daemon that has not seen the machine on.
    libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN: LOST,
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: "destroyed",
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED: "migrated",
    libvirt.VIR_DOMAIN_SHUTOFF_SAVED: "saved",
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: "failed",
    libvirt.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT: "snapshot",
    libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: "daemon",
}

_CRASHED_REASONS = {libvirt.VIR_DOMAIN_CRASHED_PANICKED: "panicked"}

_REASONS: dict[int, dict[int, str]] = {
    libvirt.VIR_DOMAIN_PAUSED: _PAUSED_REASONS,
    libvirt.VIR_DOMAIN_SHUTOFF: _SHUTOFF_REASONS,
    libvirt.VIR_DOMAIN_CRASHED: _CRASHED_REASONS,
    libvirt.VIR_DOMAIN_PMSUSPENDED: {0: "asleep"},
    libvirt.VIR_DOMAIN_SHUTDOWN: {0: "shutting_down", 1: "shutting_down"},
}

_STARTED_REASONS = {
    libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED: "booted",
    libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED: "migrated",
    libvirt.VIR_DOMAIN_EVENT_STARTED_RESTORED: "restored",
    libvirt.VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT: "snapshot",
    libvirt.VIR_DOMAIN_EVENT_STARTED_WAKEUP: "awake",
}

_SUSPENDED_REASONS = {
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED: "paused",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED: "migration",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR: "io_error",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG: "watchdog",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_RESTORED: "starting",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_FROM_SNAPSHOT: "snapshot",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_API_ERROR: "api_error",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY: "migration",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED: "migration_failed",
}

_STOPPED: dict[int, tuple[Power, str]] = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: (Power.STOPPED, "shutdown"),
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: (Power.STOPPED, "destroyed"),
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: (Power.CRASHED, "crashed"),
    # The machine runs on elsewhere: what to believe of it here needs a look.
    libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED: (Power.UNKNOWN, "migrated"),
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED: (Power.SUSPENDED, "saved"),
    # libvirt says "failed" when QEMU died under it.
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: (Power.CRASHED, "crashed"),
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT: (Power.STOPPED, "snapshot"),
}


def power_of(state: int, reason: int, *, saved: bool) -> tuple[Power, str]:
    """What a domain does, from ``virDomainGetState``; ``saved`` tells of a managed-save image beside it."""
    word = _REASONS.get(state, {}).get(reason, "")
    if state == libvirt.VIR_DOMAIN_SHUTOFF:
        if saved:
            return Power.SUSPENDED, "saved"
        if reason == libvirt.VIR_DOMAIN_SHUTOFF_CRASHED:
            return Power.CRASHED, word
    return _STATES.get(state, Power.UNKNOWN), word


def lifecycle_event(domain: str, event: int, detail: int) -> PowerEvent | None:
    """A lifecycle event in our words; None for those that say nothing of power (a guest about to shut down)."""
    if event == libvirt.VIR_DOMAIN_EVENT_STARTED:
        return PowerEvent(domain, Power.RUNNING, _STARTED_REASONS.get(detail, ""))
    if event == libvirt.VIR_DOMAIN_EVENT_RESUMED:
        return PowerEvent(domain, Power.RUNNING, "resumed")
    if event == libvirt.VIR_DOMAIN_EVENT_SUSPENDED:
        return PowerEvent(domain, Power.PAUSED, _SUSPENDED_REASONS.get(detail, ""))
    if event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
        power, reason = _STOPPED.get(detail, (Power.UNKNOWN, ""))
        return PowerEvent(domain, power, reason)
    if event == libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED:
        return PowerEvent(domain, Power.PAUSED, "asleep")
    if event == libvirt.VIR_DOMAIN_EVENT_CRASHED:
        return PowerEvent(domain, Power.CRASHED, "panicked")
    if event == libvirt.VIR_DOMAIN_EVENT_UNDEFINED:
        return PowerEvent(domain, Power.ABSENT, "undefined")
    if event == libvirt.VIR_DOMAIN_EVENT_DEFINED:
        return PowerEvent(domain, Power.UNKNOWN, "defined")
    return None
