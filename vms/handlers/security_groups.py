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
from vms.guards import card_spec, group_spec
from vms.handlers.place import HostRefused, There, at, over_there
from vms.hypervisor.xml.nwfilter import FilterSpec
from vms.models import Host, Port, SecurityGroup
from vms.names import card_name, group_name
from vms.reconcile.converge import Place, define
from vms.selectors.security_groups import groups_named, groups_of, hosts_of, in_use_on, members_of
from vms.services.security_groups import group_record_placed
from vms.states import HostState, Power

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
        hosts = [host for host in hosts_of(group) if host.state != HostState.DOWN]
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


def put_in_force(run: Run, there: There, group: SecurityGroup, rules: list[dict[str, Any]]) -> None:
    """The group's filter on that host is what ``rules`` say, and is read back; running cards have it then."""
    _put(run, there, group_spec(group, rules, there.owner))


def ensure_guards(run: Run, place: Place) -> None:
    """The filters of a machine's guarded cards on its host, with those of their groups; its networks' are there already.

    While a group is just being changed, who changes it may have read who is on which host before this machine was:
    so the group is read again after it was written.
    """
    ports = Port.objects.filter(guest=place.guest, guards__isnull=False).distinct()
    groups = SecurityGroup.objects.filter(guards__port__in=ports).values_list("pk", flat=True)
    if any(other.pk != run.operation.pk for other in operations_live_on("group", groups).values()):
        # One is just being changed, or taken off a host.
        raise Retry(_("Waiting for its security groups"), close_lane=False)
    for port in ports.select_related("network").prefetch_related("guards__group", "network__subnets"):
        for guard in port.guards.all():
            put_newest(run, place, guard.group)
        _put(run, place, card_spec(port, place.owner))


def put_newest(run: Run, there: There, group: SecurityGroup) -> None:
    """The group as its row says, also if that changes meanwhile."""
    while True:
        rules = group.rules
        put_in_force(run, there, group, rules)
        group.refresh_from_db(fields=["rules"])
        if group.rules == rules:
            return


def drop_guards(run: Run, place: Place) -> None:
    """The filters of its cards, and of the groups that no other machine of this host is in."""
    for port in Port.objects.filter(guest=place.guest):
        _drop_card(run, place, port)
    idle(run, place, groups_of(Port.objects.filter(guest=place.guest)), but=Port.objects.filter(guest=place.guest))


def drop_guard(run: Run, place: Place, port: Port) -> None:
    """The filter of a card that is off its machine, and of the groups that no other card on this host is in."""
    mine = Port.objects.filter(pk=port.pk)
    _drop_card(run, place, port)
    idle(run, place, groups_of(mine), but=mine)


def _drop_card(run: Run, place: Place, port: Port) -> None:
    if place.hv.filter(card_name(place.owner, port.pk)) is not None:
        with run.effect("drop_card_filter"):
            place.hv.remove_filter(card_name(place.owner, port.pk))


def idle(run: Run, place: Place, groups: Iterable[UUID], *, but: QuerySet[Port] | None = None) -> None:
    """Off the host with those of ``groups`` that no card there is in any more, other than ``but``.

    A group is held from before the last look until the end: a machine that is made meanwhile either is seen here, or sees the
    hold and waits.
    """
    filters = place.hv.filters()
    for pk in groups:
        name = group_name(place.owner, pk)
        if name not in filters or in_use_on(place.host, pk, but=but):
            continue
        run.hold("group", pk)
        if not in_use_on(place.host, pk, but=but):
            with run.effect("drop_group_filter"):
                place.hv.remove_filter(name)


@handles("guest.guard")
def guard(run: Run) -> None:
    """The card's groups on its host, then its filter; the definition of a machine that is off names it."""
    with at(run) as place:
        run.say(_("Changing what guards it"), 40)
        ensure_guards(run, place)
        seen = place.hv.domain(str(place.guest.pk))
        if seen is not None and seen.power == Power.STOPPED:
            with run.effect("define"):
                define(place)
        port = Port.objects.filter(pk=run.params["port"], guards=None).first()
        if port is not None:
            _drop_card(run, place, port)  # its first groups are taken back: it is on its network's filter alone
        idle(run, place, map(UUID, run.params["before"]))


def _put(run: Run, there: There, spec: FilterSpec) -> None:
    seen = there.hv.filter(spec.name)
    if seen is not None and seen.meaning() == spec.meaning():
        return
    with run.effect("filter"):
        there.hv.ensure_filter(spec)
    seen = there.hv.filter(spec.name)
    if seen is None or seen.meaning() != spec.meaning():
        raise HostRefused(detail=f"{there.host.name} has filter {spec.name} otherwise than it was told")
