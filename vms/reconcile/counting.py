"""Counters of cards on a host, as looks for the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog
from django.db.models import Sum

from portal.core.clock import now
from tenants.journal.counters import UsageCount
from vms.flows import Look
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.errors import HypervisorError, Unreachable
from vms.hypervisor.stats import DomainStats
from vms.models import CardCounter, Guest, Host
from vms.services.counting import METERS, Looks, traffic_record

log = structlog.get_logger(__name__)


class Spot(Protocol):
    """A guest on its host."""

    @property
    def guest(self) -> Guest: ...
    @property
    def host(self) -> Host: ...
    @property
    def hv(self) -> Hypervisor: ...


def looks_of(host: Host, stats: Iterable[DomainStats], *, at: datetime, has_cpu: bool = True) -> Looks:
    """What the host's counters say of each card, read at ``at``."""
    return {
        (each.uuid, mac): Look(
            run=f"{host.pk.hex}:{each.generation}:{each.run}",
            in_bytes=traffic.in_bytes,
            out_bytes=traffic.out_bytes,
            at=at,
            cpu_ns=each.cpu_ns if has_cpu else None,
        )
        for each in stats
        for mac, traffic in each.nics.items()
    }


def cards_count(spot: Spot, *, mac: str = "", is_last: bool = False) -> None:
    """Look at the machine's cards now, or at one; ``is_last`` before it is switched off or lets go of that.

    Whatever the host says to that keeps nobody from switching it off: then what was carried since the look before is not known.
    """
    try:
        stats = spot.hv.card_traffic(str(spot.guest.pk))
    except Unreachable:
        raise
    except HypervisorError as error:
        log.warning("cards_not_counted", host=spot.host.name, guest=str(spot.guest.pk), detail=error.detail)
        return
    if stats is None:
        return
    looks = looks_of(spot.host, [stats], at=now(), has_cpu=False)
    wanted = {key: look for key, look in looks.items() if mac in ("", key[1])}
    traffic_record(spot.host, wanted, is_last=is_last)


def counts_differ() -> Iterator[str]:
    """I5: what the ledger has of a card is what its counter says, byte for byte."""
    booked: dict[tuple[UUID, str], int] = {}
    rows = UsageCount.objects.filter(resource_type="port").values_list("resource_id", "meter")
    for pk, meter, total in rows.annotate(total=Sum("quantity")):
        booked[pk, meter] = total
    for counter in CardCounter.objects.order_by("pk"):
        for name, meter in METERS.items():
            counted = booked.get((counter.port_id, meter), 0)
            if counted != getattr(counter, name):
                yield f"I5 port {counter.port_id}: the ledger has {counted} of {meter}, its counter {getattr(counter, name)}"
