"""A machine's network cards, plugged in and taken off; every step asks first whether it is already so."""

from __future__ import annotations

import time
from collections.abc import Iterable
from uuid import UUID

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Conflict
from vms import design
from vms.guards import card_wanted, ports_wanted
from vms.handlers.guests import drop_network, ensure_networks
from vms.handlers.place import HostRefused, at
from vms.handlers.security_groups import drop_card, idle
from vms.hypervisor import errors
from vms.hypervisor.cards import SeenCard
from vms.hypervisor.xml.devices import Bandwidth
from vms.models import Port
from vms.reconcile.converge import Place, define
from vms.reconcile.counting import cards_count
from vms.services.hosts import host_record_unenforced
from vms.services.limiting import SpeedUnenforced
from vms.states import Power

LET_GO_S = 60
"""How long a running machine may take to let go of a card."""
SLICE_S = 2.0


@handles("guest.attach_port")
def attach(run: Run) -> None:
    """Its network on the host, which knows the card and guards it, then the card itself."""
    with at(run) as place:
        port = _port(run)
        if port is None:
            raise Conflict(_("The card is gone."), code="gone", hint="")
        ensure_networks(run, place)
        card = design.nic(port, place.guest, place.host, place.owner, place.net)
        if all(card.mac in {seen.mac for seen in cards} for cards in _everywhere(place)):
            return
        run.say(_("Plugging it in"), 70)
        with run.effect("attach"):
            try:
                place.hv.attach_card(str(place.guest.pk), card, owner=place.owner)
            except errors.NoSlot as error:
                raise Conflict(
                    _("The machine has no free slot for another card while it runs."),
                    code="no_slot",
                    hint=_("Stop it and start it again: then it has room for more."),
                    detail=error.detail,
                ) from error


@handles("guest.detach_port")
def detach(run: Run) -> None:
    """Have the machine let go of it; then its name, and its network where nobody else needs it here."""
    with at(run) as place:
        port = _port(run)
        if port is None:
            return
        _ensure_off(run, place, port.mac)
        drop_card(run, place, port)
        drop_network(run, place, port.network)


@handles("guest.readdress")
def readdress(run: Run) -> None:
    """Its network gives the card its address and answers its name with that; then the card may speak as that alone."""
    with at(run) as place:
        port = _port(run)
        if port is None:
            raise Conflict(_("The card is gone."), code="gone", hint="")
        ensure_networks(run, place)
        wanted = card_wanted(port, place.owner)
        seen = [card for cards in _everywhere(place) for card in cards if card.mac == wanted.mac]
        if seen and all(place.net.speaks_as(card, wanted) for card in seen):
            return
        run.say(_("Changing its address"), 70)
        with run.effect("readdress"):
            place.net.readdress(str(place.guest.pk), wanted)


@handles("guest.guard")
def guard(run: Run) -> None:
    """Its networks and the card's groups where it is, then the card; the definition of a machine that is off says so."""
    with at(run) as place:
        run.say(_("Changing what guards it"), 40)
        ensure_networks(run, place)
        seen = place.hv.domain(str(place.guest.pk))
        if seen is not None and seen.power == Power.STOPPED:
            with run.effect("define"):
                define(place)
        port = ports_wanted(Port.objects.filter(pk=run.params["port"], guards=None)).first()
        if port is not None:
            with run.effect("unguard"):  # its first groups are taken back: its network alone guards it
                place.net.unguard(card_wanted(port, place.owner))
        idle(run, place, map(UUID, run.params["before"]))


@handles("guest.limit_port")
def limit(run: Run) -> None:
    """The card is as fast as its rows say, now and at its machine's next start."""
    with at(run) as place:
        port = _port(run)
        if port is None:
            raise Conflict(_("The card is gone."), code="gone", hint="")
        run.say(_("Setting its speed"), 50)
        if not ensure_limits(run, place, [port]):
            raise SpeedUnenforced


def ensure_limits(run: Run, place: Place, ports: Iterable[Port]) -> bool:
    """Each card has its limits wherever the machine is defined, and they are read back; False where the host cannot limit.

    Then its page says so from now on, and cards have none there.
    """
    can = True
    for port in ports:
        wanted = _wanted(place, port)
        if _is_limited(place, port, wanted):
            continue
        try:
            with run.effect("limit"):
                place.hv.limit_card(str(place.guest.pk), port.mac, wanted, owner=place.owner)
        except errors.Unsupported as error:
            if error.feature != "bandwidth":
                raise
            host_record_unenforced(place.host, error.feature)
            place.host.refresh_from_db(fields=["unenforced"])
            can = False
            continue
        if not _is_limited(place, port, wanted):
            raise HostRefused(detail=f"{place.host.name} has card {port.mac} otherwise than it was told")
    return can


def _wanted(place: Place, port: Port) -> Bandwidth | None:
    return design.card_limit(port, place.guest, place.host)


def _is_limited(place: Place, port: Port, limit: Bandwidth | None) -> bool:
    wanted = (limit or Bandwidth()).kib
    return all(card.limits == wanted for cards in _everywhere(place) for card in cards if card.mac == port.mac)


def _port(run: Run) -> Port | None:
    return ports_wanted(Port.objects.filter(pk=run.params["port"])).first()


def _ensure_off(run: Run, place: Place, mac: str) -> None:
    """The machine has the card no more, live or kept; one that runs is asked until it lets go.

    Raises ``Conflict`` (``still_in_use``) where it does not; then it has the card as before.
    """
    if all(mac not in {seen.mac for seen in cards} for cards in _everywhere(place)):
        return
    began = time.monotonic()
    while (spent := time.monotonic() - began) < LET_GO_S:
        run.say(_("Waiting for the machine to let go of it"), 20 + int(60 * spent / LET_GO_S))
        with run.effect("detach"):
            try:
                cards_count(place, mac=mac, is_last=True)
                place.hv.detach_card(str(place.guest.pk), mac, owner=place.owner, timeout_s=SLICE_S)
                return
            except errors.Busy:
                continue
    raise Conflict(
        _("The machine did not let go of this card within %(seconds)d seconds."),
        code="still_in_use",
        seconds=LET_GO_S,
        hint=_("Its system may still be starting: try again, or stop the machine."),
    )


def _everywhere(place: Place) -> tuple[tuple[SeenCard, ...], ...]:
    """The cards of each definition of the machine; none where it is not defined."""
    try:
        return place.hv.cards(str(place.guest.pk)).everywhere()
    except errors.Missing:
        return ()
