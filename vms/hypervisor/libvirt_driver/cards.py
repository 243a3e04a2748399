"""A domain's network cards, while it runs and for its next start."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from copy import deepcopy
from ipaddress import AddressValueError, IPv4Address
from typing import Any, Final

import libvirt

from vms.hypervisor import allowlist
from vms.hypervisor.cards import SeenCards
from vms.hypervisor.errors import Busy, Missing, Refused
from vms.hypervisor.libvirt_driver.disks import KEPT, LIVE, Disks, ask_to_let_go
from vms.hypervisor.libvirt_driver.translate import translated
from vms.hypervisor.xml.build import Element, node, to_xml
from vms.hypervisor.xml.devices import Bandwidth, Nic
from vms.hypervisor.xml.metadata import Owner
from vms.hypervisor.xml.parse import cards_of, limits_of, root_of

_POLL_S: Final = 0.1


class Cards(Disks):
    """The part of the driver that speaks of network cards."""

    def cards(self, uuid: str) -> SeenCards:
        """See the protocol."""
        with translated(f"look at the cards of {uuid}"):
            found = {flag: cards_of(root) for flag, root in _definitions(self._get(uuid))}
            return SeenCards(kept=found[KEPT], live=found.get(LIVE))

    def attach_card(self, uuid: str, card: Nic, *, owner: Owner) -> None:
        """See the protocol."""
        try:
            element = card.element()
            allowlist.check_interface(element)
        except ValueError as error:
            raise Refused(f"attach to {uuid}: {error}") from error
        with translated(f"attach a card to {uuid}"):
            raw = self._owned(uuid, owner)
            if card.network:
                self.raw.networkLookupByName(card.network)
            for flag, root in _definitions(raw):
                if _element_of(root, card.mac) is None:
                    raw.attachDeviceFlags(to_xml(element), flag)

    def detach_card(self, uuid: str, mac: str, *, owner: Owner, timeout_s: float) -> None:
        """See the protocol."""
        with translated(f"detach a card of {uuid}"):
            if self._find(uuid) is None:
                return
            raw = self._owned(uuid, owner)
            for flag, root in _definitions(raw):
                element = _element_of(root, mac)
                if element is None:
                    continue
                ask_to_let_go(raw, to_xml(element), flag)
                if flag == LIVE:
                    _await_gone(raw, mac, timeout_s=timeout_s)

    def readdress_card(self, uuid: str, mac: str, ip: str, *, owner: Owner) -> None:
        """See the protocol. libvirt takes a card's filter down before it puts the other up, hence the link."""
        try:
            IPv4Address(ip)
        except AddressValueError as error:
            raise Refused(f"readdress {mac} of {uuid}: {error}") from error
        with translated(f"readdress a card of {uuid}"):
            raw = self._owned(uuid, owner)
            for flag, root in _definitions(raw):
                element = _element_of(root, mac)
                if element is None:
                    raise Missing(f"domain {uuid} has no card {mac}")
                if _speaks_as(element, ip):
                    continue
                if flag == LIVE:
                    raw.updateDeviceFlags(to_xml(_changed(element, link="down")), flag)
                    raw.updateDeviceFlags(to_xml(_changed(element, link="down", ip=ip)), flag)
                raw.updateDeviceFlags(to_xml(_changed(element, link="up", ip=ip)), flag)

    def limit_card(self, uuid: str, mac: str, limit: Bandwidth | None, *, owner: Owner) -> None:
        """See the protocol.

        Where the kernel refuses, libvirt puts back limits that there were; where there were none it leaves what the kernel did
        take (libvirt 9.0), so that is taken off here.
        """
        wanted = Bandwidth().kib if limit is None else limit.kib
        with translated(f"limit a card of {uuid}"):
            raw = self._owned(uuid, owner)
            for flag, root in _definitions(raw):
                element = _element_of(root, mac)
                if element is None:
                    raise Missing(f"domain {uuid} has no card {mac}")
                before = limits_of(element)
                if before == wanted:
                    continue
                try:
                    raw.setInterfaceParameters(mac, _parameters(wanted), flag)
                except libvirt.libvirtError:
                    if before == (0, 0):
                        with contextlib.suppress(libvirt.libvirtError):
                            raw.setInterfaceParameters(mac, _parameters(before), flag)
                    raise

    def replug_card(self, uuid: str, mac: str, *, owner: Owner) -> None:
        """See the protocol. A cable that somebody left out is put in."""
        with translated(f"replug a card of {uuid}"):
            raw = self._owned(uuid, owner)
            for flag, root in _definitions(raw):
                element = _element_of(root, mac)
                if element is None:
                    raise Missing(f"domain {uuid} has no card {mac}")
                if flag == LIVE:
                    raw.updateDeviceFlags(to_xml(_changed(element, link="down")), flag)
                    raw.updateDeviceFlags(to_xml(_changed(element, link="up")), flag)


def _definitions(raw: Any) -> Iterator[tuple[int, Element]]:
    """The running domain, if it runs, then that of its next start; each read when it is its turn."""
    if raw.isActive():
        yield LIVE, root_of(raw.XMLDesc(0))
    yield KEPT, root_of(raw.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))


def _element_of(root: Element, mac: str) -> Element | None:
    """The ``<interface>`` with that MAC as libvirt itself writes it, or None."""
    for card in root.findall("devices/interface"):
        found = card.find("mac")
        if found is not None and found.get("address") == mac:
            return card
    return None


def _parameters(limits: tuple[int, int]) -> dict[str, int]:
    """As libvirt wants them; an average of 0 takes a limit off.

    Source: https://libvirt.org/html/libvirt-libvirt-domain.html#virDomainSetInterfaceParameters
    """
    names = (libvirt.VIR_DOMAIN_BANDWIDTH_IN_AVERAGE, libvirt.VIR_DOMAIN_BANDWIDTH_OUT_AVERAGE)
    return dict(zip(names, limits, strict=True))


def _speaks_as(element: Element, ip: str) -> bool:
    link, said = element.find("link"), element.find("filterref/parameter[@name='IP']")
    return said is not None and said.get("value") == ip and (link is None or link.get("state") != "down")


def _changed(element: Element, *, link: str, ip: str = "") -> Element:
    """The card with its cable in or out (``up``, ``down``), and with the other address where one is given."""
    changed = deepcopy(element)
    for former in changed.findall("link"):
        changed.remove(former)
    changed.append(node("link", {"state": link}))
    if ip:
        for said in changed.findall("filterref/parameter[@name='IP']"):
            said.set("value", ip)
    return changed


def _await_gone(raw: Any, mac: str, *, timeout_s: float) -> None:
    """Look until the running domain has no such card; a lost event could not mislead it."""
    end = time.monotonic() + timeout_s
    while raw.isActive() and _element_of(root_of(raw.XMLDesc(0)), mac) is not None:
        if time.monotonic() >= end:
            raise Busy(f"the guest did not let go of the card {mac} within {timeout_s} s")
        time.sleep(_POLL_S)
