"""Putting security groups in force on hosts: each look first, then what differs, then a look at what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Retry, Run
from operations.selectors import operations_live_on
from portal.core.errors import Conflict, PortalError
from vms.firewall import Rule
from vms.guards import card_wanted, group_wanted, ports_wanted
from vms.handlers.place import HostRefused, Wired, over_there
from vms.models import Host, Port, SecurityGroup
from vms.names import group_name
from vms.reconcile.converge import Place
from vms.selectors.fabrics import through
from vms.selectors.security_groups import groups_named, groups_of, hosts_of, in_use_on, members_of
from vms.services.security_groups import group_record_placed
from vms.states import HostState

log = structlog.get_logger(__name__)


@handles("group.apply")
def apply(run: Run) -> None:
    """The group's new rules on every host that has a machine of it; where one refuses, the old ones on all of them again."""
    group = SecurityGroup.objects.filter(pk=run.operation.subject_id).first()
    if group is None:
        return
    done: list[Host] = []
    try:
        _everywhere(run, group, done)
    except (Conflict, HostRefused):
        _take_back(run, group, done)
        raise


@handles("group.follow")
def follow(run: Run) -> None:
    """What a group says of others is true of the machines that are in those now."""
    group = SecurityGroup.objects.filter(pk=run.operation.subject_id).first()
    if group is not None:
        _everywhere(run, group, [])


def _everywhere(run: Run, group: SecurityGroup, done: list[Host]) -> None:
    """Over and over until nobody has come or gone meanwhile. A host that is silent has them when it is swept again."""
    while True:
        facts = Facts.of(group)
        hosts = [host for host in through(hosts_of(group)) if host.state != HostState.DOWN]
        for number, host in enumerate(hosts):
            run.say(_("Changing the rules on %s") % host.name, 10 + 80 * number // len(hosts))
            with over_there(host) as there:
                put_in_force(run, there, group, group.rules)
            done.append(host)
        group.refresh_from_db(fields=["rules"])
        if facts == Facts.of(group):
            group_record_placed(group, facts.members)
            return


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides what is in force where, at one moment."""

    rules: list[dict[str, Any]]
    members: dict[str, frozenset[str]]
    hosts: frozenset[UUID]

    @classmethod
    def of(cls, group: SecurityGroup) -> Facts:
        members = members_of(groups_named(Rule.of(each) for each in group.rules))
        return cls(group.rules, members, frozenset(host.pk for host in hosts_of(group)))


def _take_back(run: Run, group: SecurityGroup, done: list[Host]) -> None:
    run.say(_("Taking the change back"), 95)
    for host in done:
        try:
            with over_there(host) as there:
                put_in_force(run, there, group, group.applied)
        except (PortalError, Retry):
            log.exception("group_not_taken_back", host=host.name, group=str(group.pk))  # the next sweep does it


def put_in_force(run: Run, there: Wired, group: SecurityGroup, rules: list[dict[str, Any]]) -> None:
    """The group is there as ``rules`` say, and is read back; running cards have it then."""
    wanted = group_wanted(group, rules, there.owner)
    if there.net.has_group(wanted):
        return
    with run.effect("group"):
        there.net.ensure_group(wanted)
    if not there.net.has_group(wanted):
        raise _otherwise(there, wanted.name)


def ensure_guards(run: Run, place: Place) -> None:
    """What guards a machine's cards is on its host, with their groups; its networks are there already.

    While a group is just being changed, who changes it may have read who is on which host before this machine was:
    so the group is read again after it was written.
    """
    ports = Port.objects.filter(guest=place.guest, guards__isnull=False).distinct()
    groups = SecurityGroup.objects.filter(guards__port__in=ports).values_list("pk", flat=True)
    if any(other.pk != run.operation.pk for other in operations_live_on("group", groups).values()):
        # One is just being changed, or taken off a host.
        raise Retry(_("Waiting for its security groups"), close_lane=False)
    for port in ports_wanted(ports).prefetch_related("guards__group"):
        for guard in port.guards.all():
            put_newest(run, place, guard.group)
        card = card_wanted(port, place.owner)
        if place.net.is_guarded(card):
            continue
        with run.effect("card"):
            place.net.guard(card)
        if not place.net.is_guarded(card):
            raise _otherwise(place, card.name)


def put_newest(run: Run, there: Wired, group: SecurityGroup) -> None:
    """The group as its row says, also if that changes meanwhile."""
    while True:
        rules = group.rules
        put_in_force(run, there, group, rules)
        group.refresh_from_db(fields=["rules"])
        if group.rules == rules:
            return


def drop_cards(run: Run, place: Place) -> None:
    """Nothing is kept for its cards any more, nor the groups that no other machine of this host is in."""
    mine = Port.objects.filter(guest=place.guest)
    _drop(run, place, mine)


def drop_card(run: Run, place: Place, port: Port) -> None:
    """The same of one card, which is off its machine."""
    _drop(run, place, Port.objects.filter(pk=port.pk))


def _drop(run: Run, place: Place, ports: QuerySet[Port]) -> None:
    for port in ports_wanted(ports):
        card = card_wanted(port, place.owner)
        with run.effect("forget_name"):
            place.net.forget(card.network, card.ip)
        with run.effect("drop_card"):
            place.net.drop_card(card)
    idle(run, place, groups_of(ports), but=ports)


def idle(run: Run, place: Place, groups: Iterable[UUID], *, but: QuerySet[Port] | None = None) -> None:
    """Off the host with those of ``groups`` that no card there is in any more, other than ``but``.

    A group is held from before the last look until the end: a machine that is made meanwhile either is seen here, or sees the
    hold and waits.
    """
    named = {group_name(place.owner, pk): pk for pk in groups}
    there = place.net.guards(named)
    for name, pk in named.items():
        if name not in there or in_use_on(place.host, pk, but=but):
            continue
        run.hold("group", pk)
        if not in_use_on(place.host, pk, but=but):
            with run.effect("drop_group"):
                place.net.drop_group(name)


def _otherwise(there: Wired, name: str) -> HostRefused:
    return HostRefused(detail=f"{there.host.name} has {name} otherwise than it was told")
