"""Counters of a ``FakeHost``'s domains: what a test wrote there, else zeros."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from vms.hypervisor.fake.link import ACTIVE, Link
from vms.hypervisor.stats import DomainStats


class Stats(Link):
    """The protocol's verb for counters."""

    def stats(self, uuids: Collection[str]) -> tuple[DomainStats, ...]:
        with self._host.call("stats"):
            return tuple(
                replace(self._host.stats.get(domain.uuid) or DomainStats(uuid=domain.uuid, run=0), run=domain.starts)
                for domain in self._host.domains.values()
                if domain.uuid in uuids and domain.power in ACTIVE
            )
