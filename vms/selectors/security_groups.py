"""Reading security groups: whose machines are in them, where they are in force."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from vms.firewall import MAX_ENTRIES, Rule, entries
from vms.models import Guard, Guest, Host, Port, SecurityGroup
from vms.selectors.fabrics import spanned


def groups_listed() -> QuerySet[SecurityGroup]:
    """The project's groups, each with ``cards_count``: how many cards it guards."""
    cards = Guard.objects.filter(group=OuterRef("pk")).order_by().values("group").annotate(number=Count("pk"))
    return SecurityGroup.objects.annotate(cards_count=Coalesce(Subquery(cards.values("number")), 0)).order_by("name")


def groups_named(rules: Iterable[Rule]) -> set[str]:
    """The ids of the groups that rules let in or out."""
    return {rule.group for rule in rules if rule.group}


def groups_naming(named: Iterable[UUID]) -> list[SecurityGroup]:
    """The groups that have a rule about one of these."""
    asked = {str(pk) for pk in named}
    rows = SecurityGroup.objects.select_related("tenant").order_by("pk")
    return [row for row in rows if asked & groups_named(Rule.of(each) for each in row.rules)]


def members_of(groups: Iterable[str]) -> dict[str, frozenset[str]]:
    """The IPv4 addresses of each group's cards, by the group's id; one query."""
    found: dict[str, set[str]] = {pk: set() for pk in groups}
    if found:
        asked = [UUID(pk) for pk in found]
        rows = Guard.objects.filter(group__in=asked, port__addresses__subnet__family=4)
        for group, ip in rows.values_list("group", "port__addresses__ip"):
            found[str(group)].add(ip)
    return {pk: frozenset(ips) for pk, ips in found.items()}


def numbers_in(groups: Iterable[str]) -> dict[str, int]:
    """How many addresses each group has."""
    return {pk: len(ips) for pk, ips in members_of(groups).items()}


def groups_crowded(changed: Iterable[UUID]) -> SecurityGroup | None:
    """One whose rules, some of which are about these groups, come to more entries than a host is told."""
    for group in groups_naming(changed):
        rules = [Rule.of(each) for each in group.rules]
        if entries(rules, numbers_in(groups_named(rules))) > MAX_ENTRIES:
            return group
    return None


def hosts_of(group: SecurityGroup) -> list[Host]:
    """The hosts that have a machine with a card of this group, with their pools."""
    with_it = Port.objects.filter(guards__group=group).values("guest__host")
    return list(Host.objects.filter(pk__in=with_it).select_related("pool").order_by("name"))


def groups_of(ports: QuerySet[Port]) -> set[UUID]:
    """The groups that guard these cards."""
    return set(Guard.objects.filter(port__in=ports).values_list("group", flat=True))


def groups_on(hosts: QuerySet[Host]) -> list[SecurityGroup]:
    """The groups in force on these hosts, whosever they are."""
    guarded = SecurityGroup.objects.filter(guards__port__guest__host__in=hosts)
    return list(guarded.distinct().select_related("tenant"))


def in_use_on(host: Host, group: UUID, *, but: QuerySet[Port] | None = None) -> bool:
    """Is the group in force there, on that host or on all that share its networks, for another card than ``but``?"""
    rows = Guard.objects.filter(group=group, port__guest__host__in=spanned(host))
    return (rows if but is None else rows.exclude(port__in=but)).exists()


def guests_guarded(group: SecurityGroup, visible: QuerySet[Guest]) -> QuerySet[Guest]:
    """Of the machines that somebody may see, those with a card of this group, by name."""
    return visible.filter(pk__in=Port.objects.filter(guards__group=group).values("guest")).order_by("name").only("name")
