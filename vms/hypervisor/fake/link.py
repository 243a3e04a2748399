"""What every part of the fake driver stands on: the host, and how it answers."""

from __future__ import annotations

import contextlib

from vms.hypervisor.driver import HostFacts, OnClose, OnEvent, ProbeResult
from vms.hypervisor.errors import Unreachable
from vms.hypervisor.fake.host import FakeHost
from vms.hypervisor.xml.metadata import Owner
from vms.states import Power

ACTIVE = frozenset({Power.RUNNING, Power.PAUSED})


class Link:
    """A connection to a ``FakeHost``: what it is, whether it lives, and its events."""

    def __init__(self, there: FakeHost) -> None:
        self._host = there

    def facts(self) -> HostFacts:
        with self._host.call("facts"):
            return self._host.facts

    def up_s(self) -> int:
        with self._host.call("up_s"):
            return self._host.up_s

    def probe(self, *, owner: Owner) -> ProbeResult:
        with self._host.call("probe"):
            return self._host.probe

    def alive(self, *, deadline_s: float = 2.0) -> None:
        with self._host.call("alive"):
            return

    def close(self) -> None:
        with contextlib.suppress(Unreachable), self._host.call("close"):
            return

    def subscribe(self, on_event: OnEvent, on_close: OnClose) -> None:
        with self._host.call("subscribe"):
            self._host.listen(on_event, on_close)
