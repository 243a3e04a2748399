"""Guests as lists show them: any page costs the same handful of queries, whatever the size of the list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from ipaddress import ip_address
from operator import or_
from typing import Final

from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from operations.models import Operation, OperationLock
from operations.selectors import operations_live_on
from portal.core.ids import uuid_or_none
from portal.core.paging import LIMIT, Page, Sorts, keyset_page
from tenants.actors import Actor
from vms.models import Address, Guest, Port, Tag, Volume
from vms.states import GuestStatus, Power

GUEST_SORTS: Sorts = {"name": ("name", "id"), "created_at": ("created_at", "id")}
SECRETS: Final = ("user_data", "password_hash", "display_password")
"""Never needed to show a guest, and dear to decrypt."""
PARTS: Final = "addresses_read"
HOST_DETAILS: Final = ("host__facts", "host__addresses", "host__unenforced", "host__notes")
"""What no list of guests shows of a host; JSON that would be read again for every row."""
BUSY_STATUS: Final = {
    "guest.create": GuestStatus.BUILDING,
    "guest.rebuild": GuestStatus.BUILDING,
    "guest.delete": GuestStatus.DELETING,
    "guest.purge": GuestStatus.DELETING,
    "guest.migrate": GuestStatus.MIGRATING,
}
"""Kinds of live operations that say more than what was seen; the same as ``Guest.status``."""


@dataclass(frozen=True, slots=True)
class GuestFilters:
    """What a list is narrowed to; empty fields narrow nothing.

    Without ``status`` the bin stays closed. ``flavor``, ``image``, ``network`` and ``host`` are ids or names; ``q`` is part of
    a name, a tag or an address.
    """

    q: str = ""
    name: str = ""
    status: Sequence[GuestStatus] = ()
    tag: str = ""
    flavor: str = ""
    image: str = ""
    network: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class GuestRow:
    """A guest with all that a row or page shows of it; ``tags`` are sorted, cards and disks in their order."""

    guest: Guest
    operation: Operation | None
    status: GuestStatus
    tags: list[str]
    addresses: list[tuple[Port, Address]]
    volumes: list[Volume]


def guests_visible(actor: Actor) -> QuerySet[Guest]:
    """The guests of the scope that the actor's role reaches, without what is secret of them."""
    return actor.visible(Guest.objects.defer(*SECRETS))


def guest_rows(
    actor: Actor, filters: GuestFilters | None = None, *, sort: str = "name", cursor: str = "", limit: int = LIMIT
) -> Page[GuestRow]:
    """A page of guests: six queries, of which each touches only the page. Raises ``Invalid`` for a bad sort or cursor."""
    rows = _with_parts(_narrowed(guests_visible(actor), filters or GuestFilters()))
    page = keyset_page(rows, sorts=GUEST_SORTS, sort=sort, cursor=cursor, limit=limit)
    return page.of(_rows(page.items))


def guest_row(guest: Guest) -> GuestRow:
    """One guest as ``guest_rows`` would show it, read afresh."""
    return _rows(list(_with_parts(Guest.objects.defer(*SECRETS).filter(pk=guest.pk))))[0]


def guest_counts(actor: Actor) -> dict[GuestStatus, int]:
    """How many guests there are of each status; two queries. Those in the bin count as ``binned`` only."""
    rows = guests_visible(actor).order_by()
    counts: Counter[GuestStatus] = Counter()
    # Tuples of what decides, to be read by the model's own rule: one rule for a row and for a count.
    groups = rows.annotate(built=Q(built_at__isnull=False), binned=Q(binned_at__isnull=False)).values_list(
        "seen_power", "built", "binned"
    )
    for power, built, binned, number in groups.annotate(number=Count("pk")):
        counts[_resting(power, built=built, binned=binned)] += number
    busy = rows.annotate(live=_live_kind()).filter(live__in=BUSY_STATUS)
    for power, built_at, binned_at, kind in busy.values_list("seen_power", "built_at", "binned_at", "live"):
        counts[_resting(power, built=built_at is not None, binned=binned_at is not None)] -= 1
        counts[BUSY_STATUS[kind]] += 1
    return {status: counts[status] for status in GuestStatus}


def _resting(power: str, *, built: bool, binned: bool) -> GuestStatus:
    """The status of a guest on which nothing is being done, by ``Guest.status``."""
    guest = Guest(seen_power=power)
    guest.built_at = guest.created_at if built else None
    guest.binned_at = guest.created_at if binned else None
    return guest.status()


def _with_parts(rows: QuerySet[Guest]) -> QuerySet[Guest]:
    addresses = Prefetch("addresses", to_attr=PARTS)
    ports = Port.objects.select_related("network").prefetch_related(addresses)
    rows = rows.select_related("tenant", "flavor", "image", "host").defer(*SECRETS, *HOST_DETAILS)
    # Lists and not managers: a manager for every guest and kind of part costs more than the rest of the page.
    return rows.prefetch_related(
        Prefetch("tags", to_attr="tags_read"),
        Prefetch("volumes", to_attr="volumes_read"),
        Prefetch("ports", queryset=ports, to_attr="ports_read"),
    )


def _rows(guests: list[Guest]) -> list[GuestRow]:
    live = operations_live_on("guest", [guest.pk for guest in guests])
    return [_row(guest, live.get(guest.pk)) for guest in guests]


def _row(guest: Guest, operation: Operation | None) -> GuestRow:
    read = vars(guest)
    return GuestRow(
        guest=guest,
        operation=operation,
        status=guest.status(operation.kind if operation is not None else ""),
        tags=guest.tag_names(),
        addresses=[(port, address) for port in read["ports_read"] for address in vars(port)[PARTS]],
        volumes=sorted(read["volumes_read"], key=lambda volume: volume.position),
    )


def _narrowed(rows: QuerySet[Guest], filters: GuestFilters) -> QuerySet[Guest]:
    if filters.status:
        rows = rows.annotate(live=_live_kind()).filter(reduce(or_, [_has_status(s) for s in filters.status]))
    else:
        rows = rows.filter(binned_at=None)
    if filters.q:
        rows = rows.filter(_found(filters.q))
    if filters.name:
        rows = rows.filter(name=filters.name)
    if filters.tag:
        rows = rows.filter(_wears(filters.tag))
    for column, text in (("flavor", filters.flavor), ("image", filters.image), ("host", filters.host)):
        if text:
            rows = rows.filter(_named(column, text))
    if filters.network:
        rows = rows.filter(Exists(Port.objects.filter(_named("network", filters.network), guest=OuterRef("pk"))))
    return rows


def _named(column: str, text: str) -> Q:
    """The row that a column points to, by id or name."""
    pk = uuid_or_none(text)
    return Q(**{f"{column}__name": text}) if pk is None else Q(**{column: pk})


def _found(text: str) -> Q:
    try:
        address = str(ip_address(text))
    except ValueError:
        return Q(name__icontains=text) | _wears(text)
    return Q(Exists(Address.objects.filter(port__guest=OuterRef("pk"), ip=address)))


def _wears(tag: str) -> Q:
    return Q(Exists(Guest.tags.through.objects.filter(guest=OuterRef("pk"), tag__in=Tag.objects.filter(name=tag))))


def _live_kind() -> Coalesce:
    """The kind of the operation that holds the guest, empty where none does."""
    held = OperationLock.objects.filter(resource_type="guest", resource_id=OuterRef("pk"), exclusive=True)
    return Coalesce(Subquery(held.values("operation__kind")[:1]), Value(""))


def _has_status(status: GuestStatus) -> Q:
    """``Guest.status`` as SQL, over the annotation ``live``."""
    busy = [kind for kind, word in BUSY_STATUS.items() if word == status]
    if busy:
        return Q(live__in=busy)
    resting = ~Q(live__in=BUSY_STATUS)
    if status == GuestStatus.BINNED:
        return resting & Q(binned_at__isnull=False)
    built = Q(built_at__isnull=False)
    if status == GuestStatus.ERROR:
        return resting & Q(binned_at=None) & (~built | Q(seen_power__in=[Power.CRASHED, Power.ABSENT]))
    return resting & Q(binned_at=None) & built & Q(seen_power=status.value)


def tags_worn(actor: Actor, *, limit: int = 12) -> list[str]:
    """The tags that machines outside the bin wear, commonest first, then by name."""
    worn = Tag.objects.filter(guests__in=guests_visible(actor).filter(binned_at=None).values("pk"))
    return [tag.name for tag in worn.annotate(number=Count("pk")).order_by("-number", "name")[:limit]]


def guests_ailing(actor: Actor, *, limit: int) -> list[GuestRow]:
    """Machines that somebody should look at: in error, on a silent host, or with a problem left by what was tried last."""
    rows = guests_visible(actor).annotate(live=_live_kind()).filter(binned_at=None)
    ailing = rows.filter(_has_status(GuestStatus.ERROR) | _has_status(GuestStatus.UNKNOWN) | ~Q(problem_code=""))
    return _rows(list(_with_parts(ailing).order_by("name", "pk")[:limit]))
