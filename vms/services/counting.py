"""What cards have carried: looks at their counters become bytes in the ledger, each once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from portal.core.clock import now
from tenants.journal.counters import Count, counts_add
from vms.flows import Look, Moved, moved
from vms.models import CardCounter, Host, Port

METERS: Final = {"in_bytes": "traffic_in_bytes", "out_bytes": "traffic_out_bytes"}
"""To the machine and from it. Of a bridge on one host nobody can tell outside from inside: both are in these."""
LOOK: Final = ("run", "cpu_ns", "in_raw", "out_raw", "read_at", "is_closed", "unread_ends", "in_bytes", "out_bytes")
BATCH: Final = 200
IDLE: Final = timedelta(minutes=10)
"""How seldom a card that carries nothing is written down."""

type Looks = dict[tuple[str, str], Look]
"""By machine's id and MAC."""


@transaction.atomic
def traffic_record(host: Host, looks: Looks, *, is_last: bool = False) -> int:
    """Add what the looks at cards of ``host``'s machines tell; how many bytes. Safe to repeat, late, and by several at once.

    With ``is_last`` what they look at ends now: the machine goes off, or lets go of the card. The rows are locked by their key;
    nothing that has rows of other nouns to lock comes after. A card that is looked at for the first time and has no counter yet
    (it was made before cards were counted) is counted from now on.
    """
    macs = {mac for _guest, mac in looks}
    ports = Port.objects.filter(guest__host=host, mac__in=macs)
    rows = CardCounter.objects.select_for_update(of=("self",)).filter(port__in=ports).select_related("port")
    found = {(str(row.port.guest_id), row.port.mac): row for row in rows.order_by("pk")}
    _begin(ports.filter(counter=None), looks)
    changed: list[CardCounter] = []
    counts: list[Count] = []
    for key, row in found.items():
        if key in looks and (more := _add(row, looks[key], is_last=is_last)) is not None:
            changed.append(row)
            counts += _counts(row, more)
    CardCounter.objects.bulk_create(
        changed, batch_size=BATCH, update_conflicts=True, unique_fields=["port"], update_fields=LOOK
    )
    counts_add(counts)
    return sum(count.quantity for count in counts)


def _add(row: CardCounter, look: Look, *, is_last: bool) -> Moved | None:
    """The row with what the look adds; None where that changes nothing."""
    last = _last(row)
    more = moved(last, look, is_closed=row.is_closed)
    if more is None or (last is not None and not _says_more(more, last) and not is_last):
        return None
    if more.is_new_run and last is not None and not row.is_closed:
        row.unread_ends += 1
    row.in_bytes += more.in_bytes
    row.out_bytes += more.out_bytes
    row.is_closed = is_last
    row.run, row.cpu_ns, row.read_at = more.last.run, more.last.cpu_ns, more.last.at
    row.in_raw, row.out_raw = more.last.in_bytes, more.last.out_bytes
    return more


def _says_more(more: Moved, last: Look) -> bool:
    """Is there something to write? A card that carries nothing is written down as seldom as that is safe."""
    return bool(more.in_bytes or more.out_bytes or more.is_new_run) or more.last.at - last.at >= IDLE


def _last(row: CardCounter) -> Look | None:
    if row.read_at is None:
        return None
    return Look(run=row.run, in_bytes=row.in_raw, out_bytes=row.out_raw, at=row.read_at, cpu_ns=row.cpu_ns)


def _counts(row: CardCounter, more: Moved) -> Iterable[Count]:
    attributes = {"guest": str(row.port.guest_id), "network": str(row.port.network_id), "reach": "all"}
    for name, meter in METERS.items():
        yield Count(
            tenant_id=row.tenant_id,
            resource_type="port",
            resource_id=row.port_id,
            meter=meter,
            quantity=getattr(more, name),
            attributes=attributes,
        )


def _begin(ports: Iterable[Port], looks: Looks) -> None:
    """Counters for cards that had none: what they carried before is nobody's business any more."""
    fresh = [
        CardCounter(
            tenant_id=port.tenant_id, port=port, run=look.run, cpu_ns=look.cpu_ns, in_raw=look.in_bytes,
            out_raw=look.out_bytes, read_at=look.at,
        )
        for port in ports
        if (look := looks.get((str(port.guest_id), port.mac))) is not None
    ]  # fmt: skip
    CardCounter.objects.bulk_create(fresh, ignore_conflicts=True)


def counter_begin(port: Port, *, at: datetime | None = None) -> None:
    """A card that is just being made is counted from its first byte on; in the caller's transaction."""
    CardCounter.objects.create(tenant=port.tenant, port=port, since=at or now())
