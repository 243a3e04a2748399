"""Guests as lists show them: any page costs the same handful of queries, whatever the size of the list."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from ipaddress import ip_address
from operator import or_
from typing import Any, Final, cast
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Count, Exists, Field, OuterRef, Q, QuerySet, Subquery, UUIDField, Value
from django.db.models.functions import Coalesce

from operations.models import Operation, OperationLock
from operations.selectors import operations_live_on
from operations.states import LIVE
from portal.core.ids import uuid_or_none
from portal.core.paging import LIMIT, Order, Page, Sorts, place_in
from tenants.actors import Actor, Reach, within
from tenants.journal.events import shows
from tenants.policy import Permission
from tenants.prepared import Given, columns_of, prepared
from vms.models import Address, Guest, Host, Port, Tag, Volume
from vms.models.guests import Charge
from vms.models.hardware import HARDWARE
from vms.selectors.metrics import cpu_sparks
from vms.states import GuestStatus, HostState, Power

GUEST_SORTS: Sorts = {"name": ("name", "id"), "created_at": ("created_at", "id")}
SECRETS: Final = ("user_data", "password_hash", "new_password", "display_password")
"""Never needed to show a guest, and dear to decrypt."""
SHOWN: Final = columns_of(
    Guest, "id", "tenant_id", "name", "vcpus", "memory_mib", "disk_gib", *HARDWARE, "in_rescue", "protected", "ssh_keys",
    "want_power", "seen_power", "seen_since", "seen_reason", "seen_display", "built_at", "problem_code",
    "problem_message", "binned_at", "purge_after", "lease_ends_at", "start_order", "start_delay_s", "after_crash", "version",
    "created_at", "flavor_id", "next_flavor_id", "image_id", "placement_group_id",
)  # fmt: skip
"""What lists and pages show of a guest; whatever else is asked of a row costs a query of its own."""
NAMES: Final = ("flavor__name", "next_flavor__name", "image__name", "image__os_family")
"""What is shown of its flavor and image: words, since two more rows for every guest cost as much as the guest."""
OF_HOST: Final = columns_of(Host, "id", "name", "state")
COLUMNS: Final = (*SHOWN, *(f"host__{name}" for name in OF_HOST), *NAMES)
BUSY_STATUS: Final = {
    "guest.create": GuestStatus.BUILDING,
    "guest.clone": GuestStatus.BUILDING,
    "guest.rebuild": GuestStatus.BUILDING,
    "guest.delete": GuestStatus.DELETING,
    "guest.purge": GuestStatus.DELETING,
    "guest.migrate": GuestStatus.MIGRATING,
}
"""Kinds of live operations that say more than what was seen; the same as ``Guest.status``."""

GUESTS: Final = Given("guests", UUIDField(), many=True)
AGAIN_AFTER: Final = timedelta(hours=1)
"""Between two tries to remove what a failed creation left."""


@dataclass(frozen=True, slots=True)
class GuestFilters:
    """What a list is narrowed to; empty fields narrow nothing.

    Without ``status`` the bin stays closed. ``flavor``, ``image``, ``network`` and ``host`` are ids or names; ``q`` is part of
    a name, a tag or an address.
    """

    q: str = ""
    name: str = ""
    status: tuple[GuestStatus, ...] = ()
    tag: str = ""
    flavor: str = ""
    image: str = ""
    network: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class AddressRow:
    """An address of a guest, with the card that holds it and its network."""

    ip: str
    kind: str
    mac: str
    network_id: UUID
    network_name: str


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """A disk of a guest; the one at position 0 is its root."""

    pk: UUID
    name: str
    size_gib: int
    state: str
    position: int
    delete_with_guest: bool


@dataclass(frozen=True, slots=True)
class GuestRow:
    """A guest with all that a row or page shows of it; ``tags`` are sorted, addresses and disks in their order."""

    guest: Guest
    flavor_name: str
    next_flavor_name: str
    image_name: str
    os_family: str
    operation: Operation | None
    status: GuestStatus
    tags: list[str]
    addresses: list[AddressRow]
    volumes: list[VolumeRow]
    spark: str = ""


def guests_visible(actor: Actor) -> QuerySet[Guest]:
    """The guests of the scope that the actor's role reaches, without what is secret of them."""
    return actor.visible(Guest.objects.defer(*SECRETS))


@shows("guest")
def guests_seen(actor: Actor, ids: Collection[str]) -> set[str]:
    """Which of these ids ``actor`` may look at; one that is gone is nobody's to see."""
    return {str(pk) for pk in actor.visible(Guest.objects.filter(pk__in=ids)).values_list("pk", flat=True)}


def guest_rows(
    actor: Actor,
    filters: GuestFilters | None = None,
    *,
    sort: str = "name",
    cursor: str = "",
    limit: int = LIMIT,
    volumes: bool = True,
    sparks: bool = False,
) -> Page[GuestRow]:
    """A page of guests: five queries, of which each touches only the page. Raises ``Invalid`` for a bad sort or cursor.

    Without ``volumes`` their disks are not read and no row has any; with ``sparks`` one more query reads their last hour's CPU.
    """
    place = place_in(Guest, sorts=GUEST_SORTS, sort=sort, cursor=cursor)
    after = dict(zip(place.order.columns, place.after or (), strict=False))
    reach = actor.reach(Permission.GUEST_VIEW)
    found = _page_rows(reach, filters or GuestFilters(), place.order, bool(after), limit + 1, **after)
    page = place.page(_guests(found), limit)
    return page.of(_rows(page.items, volumes=volumes, sparks=sparks))


@prepared
def _page_rows(
    reach: Reach, filters: GuestFilters, order: Order, later: bool, limit: int
) -> QuerySet[Any, tuple[Any, ...]]:
    rows = _narrowed(within(Guest.objects.all(), reach), filters)
    if later:
        columns = [cast("Field[Any, Any]", Guest._meta.get_field(name)) for name in order.columns]
        rows = rows.filter(order.beyond([Given(column.name, column) for column in columns]))
    return order.of(rows).values_list(*COLUMNS)[:limit]


@prepared
def _one_row() -> QuerySet[Any, tuple[Any, ...]]:
    return Guest.objects.filter(pk=Given("pk", UUIDField())).values_list(*COLUMNS)


def guest_row(guest: Guest, *, sparks: bool = False) -> GuestRow:
    """One guest as ``guest_rows`` would show it, read afresh."""
    return _rows(_guests(_one_row(pk=guest.pk)), sparks=sparks)[0]


def guest_counts(actor: Actor) -> dict[GuestStatus, int]:
    """How many guests there are of each status; one query. Those in the bin count as ``binned`` only.

    All are grouped by what was seen of them, from an index alone; then the few that are in the bin or not built, and those on
    which something is being done, are taken out and put elsewhere: to look at each of fifty thousand takes six times as long.
    """
    counts: Counter[GuestStatus] = Counter()
    for power, built, binned, kind, number in _number_rows(actor.reach(Permission.GUEST_VIEW)):
        resting = _resting(power, built=built, binned=binned)
        counts[BUSY_STATUS.get(kind, resting)] += number
        if kind:
            counts[resting] -= number
        elif binned or not built:
            counts[_resting(power, built=True, binned=False)] -= number
    return {status: counts[status] for status in GuestStatus}


@prepared
def _number_rows(reach: Reach) -> QuerySet[Any, tuple[Any, ...]]:
    held = OperationLock.objects.filter(resource_type="guest", exclusive=True, operation__kind__in=BUSY_STATUS)
    everyone = within(Guest.objects.order_by(), reach)
    busy = everyone.filter(pk__in=held.values("resource_id"))
    aside = everyone.filter(Q(binned_at__isnull=False) | Q(built_at__isnull=True))
    no, built, binned = Value(""), Q(built_at__isnull=False), Q(binned_at__isnull=False)
    all_of_them = _groups(everyone, Value(True), Value(False), no)
    return all_of_them.union(_groups(aside, built, binned, no), _groups(busy, built, binned, _live_kind()), all=True)


def _groups(
    rows: QuerySet[Guest], built: Value | Q, binned: Value | Q, kind: Value | Coalesce
) -> QuerySet[Guest, tuple[Any, ...]]:
    """By power, built or not, in the bin or not, and the kind of operation: how many."""
    shape = rows.annotate(built=built, binned=binned, live=kind)
    return shape.values_list("seen_power", "built", "binned", "live").annotate(number=Count("*"))


def _resting(power: str, *, built: bool, binned: bool) -> GuestStatus:
    """The status of a guest on which nothing is being done, by ``Guest.status``."""
    guest = Guest(seen_power=power)
    guest.built_at = guest.created_at if built else None
    guest.binned_at = guest.created_at if binned else None
    return guest.status()


def _guests(rows: Iterable[tuple[Any, ...]]) -> list[Guest]:
    """Guests of rows of ``COLUMNS``, each with its host; the names are attributes as ``values_list`` called them."""
    hosts: dict[tuple[Any, ...], Host | None] = {(None, None, None): None}
    guests = []
    for row in rows:
        guest = Guest.from_db(DEFAULT_DB_ALIAS, SHOWN, row[: len(SHOWN)])
        of_host = row[len(SHOWN) : -len(NAMES)]
        if of_host not in hosts:
            hosts[of_host] = Host.from_db(DEFAULT_DB_ALIAS, OF_HOST, of_host)
        guest.host = hosts[of_host]
        vars(guest).update(zip(NAMES, row[-len(NAMES) :], strict=True))
        guests.append(guest)
    return guests


def _rows(guests: list[Guest], *, volumes: bool = True, sparks: bool = False) -> list[GuestRow]:
    if not guests:
        return []
    ids = [guest.pk for guest in guests]
    live, tags, addresses = operations_live_on("guest", ids), _tags(ids), _addresses(ids)
    disks = _volumes(ids) if volumes else defaultdict(list)
    lately = cpu_sparks(ids) if sparks else {}
    rows = []
    for guest in guests:
        operation = live.get(guest.pk)
        flavor, next_flavor, image, family = (vars(guest)[name] for name in NAMES)
        guest.tags_known(tags[guest.pk])
        rows.append(
            GuestRow(
                guest=guest,
                flavor_name=flavor,
                next_flavor_name=next_flavor or "",
                image_name=image,
                os_family=family,
                operation=operation,
                status=guest.status(operation.kind if operation is not None else ""),
                tags=tags[guest.pk],
                addresses=addresses[guest.pk],
                volumes=disks[guest.pk],
                spark=lately.get(guest.pk, ""),
            )
        )
    return rows


@prepared
def _tag_rows() -> QuerySet[Any, tuple[Any, ...]]:
    worn: QuerySet[Any] = Guest.tags.through.objects.filter(guest__pk__among=GUESTS).order_by("tag__name")
    return worn.values_list("guest", "tag__name")


def _tags(guests: Sequence[UUID]) -> dict[UUID, list[str]]:
    """By guest, sorted."""
    worn: defaultdict[UUID, list[str]] = defaultdict(list)
    for guest, name in _tag_rows(guests=guests):
        worn[guest].append(name)
    return worn


@prepared
def _address_rows() -> QuerySet[Any, tuple[Any, ...]]:
    rows = Address.objects.filter(port__guest__pk__among=GUESTS).order_by("port__position", "pk")
    return rows.values_list("port__guest", "ip", "kind", "port__mac", "port__network", "port__network__name")


def _addresses(guests: Sequence[UUID]) -> dict[UUID, list[AddressRow]]:
    """By guest."""
    found: defaultdict[UUID, list[AddressRow]] = defaultdict(list)
    for guest, ip, kind, mac, network, name in _address_rows(guests=guests):
        found[guest].append(AddressRow(ip, kind, mac, network, name))
    return found


@prepared
def _volume_rows() -> QuerySet[Any, tuple[Any, ...]]:
    rows = Volume.objects.filter(guest__pk__among=GUESTS).order_by("position")
    return rows.values_list("guest", "pk", "name", "size_gib", "state", "position", "delete_with_guest")


def _volumes(guests: Sequence[UUID]) -> dict[UUID, list[VolumeRow]]:
    found: defaultdict[UUID, list[VolumeRow]] = defaultdict(list)
    for guest, pk, name, size_gib, state, position, goes in _volume_rows(guests=guests):
        found[guest].append(VolumeRow(pk, name, size_gib, state, position, goes))
    return found


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
    return [name for name, _number in _worn_rows(actor.reach(Permission.GUEST_VIEW), limit)]


@prepared
def _worn_rows(reach: Reach, limit: int) -> QuerySet[Any, tuple[Any, ...]]:
    wearers = within(Guest.objects.filter(binned_at=None), reach).values("pk")
    worn = Tag.objects.filter(guests__in=wearers).values_list("name").annotate(number=Count("pk"))
    return worn.order_by("-number", "name")[:limit]


def guests_ailing(actor: Actor, *, limit: int) -> list[GuestRow]:
    """Machines that somebody should look at: in error, on a silent host, or with a problem left by what was tried last."""
    rows = guests_visible(actor).annotate(live=_live_kind()).filter(binned_at=None)
    ailing = rows.filter(_has_status(GuestStatus.ERROR) | _has_status(GuestStatus.UNKNOWN) | ~Q(problem_code=""))
    return _rows(_guests(ailing.order_by("name", "pk").values_list(*COLUMNS)[:limit]))


def guests_unremoved(*, at: datetime) -> QuerySet[Guest]:
    """What failed creations left where its host refused the removal, an hour ago or earlier; needs every tenant's scope."""
    lately = Operation.objects.filter(
        Q(status__in=LIVE) | Q(finished_at__gt=at - AGAIN_AFTER), kind="guest.purge", subject_id=OuterRef("pk")
    )
    failed = Guest.objects.filter(~Exists(lately), built_at=None, charge=Charge.NONE, host__state=HostState.UP)
    return failed.select_related("tenant").order_by("pk")
