"""Network cards of a ``FakeHost``'s domains."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address

from vms.hypervisor import allowlist
from vms.hypervisor.cards import SeenCard, SeenCards
from vms.hypervisor.errors import Busy, Missing, Refused
from vms.hypervisor.fake.disks import Disks
from vms.hypervisor.fake.domains import must_be_ours
from vms.hypervisor.fake.link import ACTIVE
from vms.hypervisor.xml.devices import Bandwidth, Nic
from vms.hypervisor.xml.domain import DomainSpec
from vms.hypervisor.xml.metadata import Owner


class Cards(Disks):
    """The protocol's verbs for network cards."""

    def cards(self, uuid: str) -> SeenCards:
        with self._host.call("cards"):
            domain = self._get(uuid)
            live = _seen(domain.live_spec) if domain.power in ACTIVE else None
            return SeenCards(kept=_seen(domain.spec), live=live)

    def attach_card(self, uuid: str, card: Nic, *, owner: Owner) -> None:
        with self._host.call("attach_card"):
            try:
                allowlist.check_interface(card.element())
            except ValueError as error:
                raise Refused(f"attach to {uuid}: {error}") from error
            domain = self._get(uuid)
            must_be_ours(domain, owner)
            if card.network and card.network not in self._host.networks:
                raise Missing(f"no network {card.network}")
            if domain.power in ACTIVE:
                domain.live_spec = _with(domain.live_spec, card)
            domain.spec = _with(domain.spec, card)

    def detach_card(self, uuid: str, mac: str, *, owner: Owner, timeout_s: float) -> None:
        with self._host.call("detach_card"):
            domain = self._host.domains.get(uuid)
            if domain is None:
                return
            must_be_ours(domain, owner)
            if domain.power in ACTIVE:
                if self._host.deaf and any(card.mac == mac for card in _seen(domain.live_spec)):
                    raise Busy(f"the guest did not let go of the card {mac} within {timeout_s} s")
                domain.live_spec = _without(domain.live_spec, mac)
            domain.spec = _without(domain.spec, mac)

    def readdress_card(self, uuid: str, mac: str, ip: str, *, owner: Owner) -> None:
        with self._host.call("readdress_card"):
            try:
                IPv4Address(ip)
            except AddressValueError as error:
                raise Refused(f"readdress {mac} of {uuid}: {error}") from error
            domain = self._get(uuid)
            must_be_ours(domain, owner)
            if mac not in {card.mac for card in _seen(domain.spec)}:
                raise Missing(f"domain {uuid} has no card {mac}")
            if domain.power in ACTIVE:
                domain.live_spec = _readdressed(domain.live_spec, mac, ip)
            domain.spec = _readdressed(domain.spec, mac, ip)

    def limit_card(self, uuid: str, mac: str, limit: Bandwidth | None, *, owner: Owner) -> None:
        with self._host.call("limit_card"):
            domain = self._get(uuid)
            must_be_ours(domain, owner)
            if mac not in {card.mac for card in _seen(domain.spec)}:
                raise Missing(f"domain {uuid} has no card {mac}")
            if domain.power in ACTIVE:
                domain.live_spec = _limited(domain.live_spec, mac, limit)
            domain.spec = _limited(domain.spec, mac, limit)

    def replug_card(self, uuid: str, mac: str, *, owner: Owner) -> None:
        with self._host.call("replug_card"):
            domain = self._get(uuid)
            must_be_ours(domain, owner)
            if mac not in {card.mac for card in _seen(domain.spec)}:
                raise Missing(f"domain {uuid} has no card {mac}")
            if domain.power in ACTIVE:
                domain.live_spec = _plugged(domain.live_spec, mac)


def _plugged(spec: DomainSpec | None, mac: str) -> DomainSpec | None:
    nics = () if spec is None else spec.nics
    there = tuple(replace(nic, link_up=True) if nic.mac == mac else nic for nic in nics)
    return None if spec is None else replace(spec, nics=there)


def _seen(spec: DomainSpec | None) -> tuple[SeenCard, ...]:
    nics = () if spec is None else spec.nics
    return tuple(
        SeenCard(
            nic.mac,
            nic.network,
            nic.filter.name if nic.filter else "",
            nic.filter.ip if nic.filter else "",
            nic.link_up,
            (nic.bandwidth or Bandwidth()).kib,
            nic.port,
        )
        for nic in nics
    )


def _with(spec: DomainSpec | None, card: Nic) -> DomainSpec | None:
    if spec is None or any(nic.mac == card.mac for nic in spec.nics):
        return spec
    return replace(spec, nics=(*spec.nics, card))


def _without(spec: DomainSpec | None, mac: str) -> DomainSpec | None:
    return None if spec is None else replace(spec, nics=tuple(nic for nic in spec.nics if nic.mac != mac))


def _readdressed(spec: DomainSpec | None, mac: str, ip: str) -> DomainSpec | None:
    def other(nic: Nic) -> Nic:
        if nic.mac != mac or nic.filter is None:
            return nic
        return replace(nic, filter=replace(nic.filter, ip=ip), link_up=True)

    return None if spec is None else replace(spec, nics=tuple(map(other, spec.nics)))


def _limited(spec: DomainSpec | None, mac: str, limit: Bandwidth | None) -> DomainSpec | None:
    if spec is None:
        return None
    return replace(spec, nics=tuple(replace(nic, bandwidth=limit) if nic.mac == mac else nic for nic in spec.nics))
