"""Counters of a ``FakeHost``'s domains: what a test wrote there, else zeros."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from vms.hypervisor.fake.link import ACTIVE, Link
from vms.hypervisor.stats import DomainStats


class Stats(Link):
    """The protocol's verbs for counters."""

    def stats(self, uuids: Collection[str]) -> tuple[DomainStats, ...]:
        with self._host.call("stats"):
            return self._stats(uuids)

    def card_traffic(self, uuid: str) -> DomainStats | None:
        with self._host.call("card_traffic"):
            (seen,) = self._stats([uuid]) or (None,)
            return seen and DomainStats(uuid=uuid, run=seen.run, generation=seen.generation, nics=seen.nics)

    def _stats(self, uuids: Collection[str]) -> tuple[DomainStats, ...]:
        return tuple(
            replace(
                self._host.stats.get(domain.uuid) or DomainStats(uuid=domain.uuid, run=0),
                run=domain.starts,
                generation=domain.live_spec.tag.generation if domain.live_spec else 0,
            )
            for domain in self._host.domains.values()
            if domain.uuid in uuids and domain.power in ACTIVE
        )
