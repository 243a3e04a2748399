"""libvirt's callback thread → our own plain events."""

from __future__ import annotations

import contextlib
from typing import Any

import libvirt

from vms.hypervisor.driver import OnClose, OnEvent, PowerEvent
from vms.hypervisor.libvirt_driver.link import Link
from vms.hypervisor.libvirt_driver.powers import lifecycle_event
from vms.hypervisor.libvirt_driver.translate import translated
from vms.states import Power

_CLOSE_REASONS = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "error",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "eof",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "keepalive",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "closed",
}


class Events(Link):
    """The part of the driver that listens."""

    def subscribe(self, on_event: OnEvent, on_close: OnClose) -> None:
        """Each call adds a listener of events; the last one's ``on_close`` counts.

        Listeners live as long as the connection. ``on_close`` is given error, eof, keepalive or closed.
        """

        def lifecycle(_conn: Any, domain: Any, event: int, detail: int, _opaque: Any) -> None:
            told = lifecycle_event(domain.UUIDString(), event, detail)
            if told:
                on_event(told)

        def reboot(_conn: Any, domain: Any, _opaque: Any) -> None:
            on_event(PowerEvent(domain.UUIDString(), Power.RUNNING, "reboot", rebooted=True))

        def closed(_conn: Any, reason: int, _opaque: Any) -> None:
            on_close(_CLOSE_REASONS.get(reason, "error"))

        with translated("subscribe to events"):
            self.raw.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, None)
            self.raw.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, reboot, None)
            # libvirt keeps one close callback a connection; drivers inside the process have none to offer.
            with contextlib.suppress(libvirt.libvirtError):
                self.raw.unregisterCloseCallback()
            self.raw.registerCloseCallback(closed, None)
