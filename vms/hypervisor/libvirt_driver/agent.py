"""What the guest agent says: hostile by nature, so bounded in time and size and handed on as text only."""

from __future__ import annotations

import ipaddress
from typing import Any

import libvirt

from vms.hypervisor.driver import AgentFacts
from vms.hypervisor.libvirt_driver.domains import Domains
from vms.hypervisor.libvirt_driver.translate import AGENT_COMMAND_FAILED, AGENT_COMMAND_TIMEOUT, translated

_ANSWER_S = 2
"""Per question, two questions: with libvirt's own waiting below five seconds in all."""

_TEXT_MAX, _ADDRESSES_MAX, _TOTAL_MAX = 255, 64, 64 * 1024
SILENT = frozenset(
    {
        libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
        libvirt.VIR_ERR_AGENT_UNSYNCED,
        AGENT_COMMAND_TIMEOUT,
        AGENT_COMMAND_FAILED,
        libvirt.VIR_ERR_OPERATION_INVALID,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_INTERNAL_ERROR,
    }
)


class Agent(Domains):
    """The part of the driver that asks the guest itself."""

    def agent_facts(self, uuid: str) -> AgentFacts:
        with translated(f"ask the agent of {uuid}"):
            raw = self._get(uuid)
            if not raw.isActive():
                return AgentFacts()
            try:
                raw.agentSetResponseTimeout(_ANSWER_S, 0)
                who = raw.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_HOSTNAME | libvirt.VIR_DOMAIN_GUEST_INFO_OS, 0)
                where = raw.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, 0)
            except libvirt.libvirtError as error:
                if error.get_error_code() in SILENT:
                    return AgentFacts()
                raise
        return facts_from(who, where)


def facts_from(who: dict[str, Any], where: dict[str, Any]) -> AgentFacts:
    """Cut what a guest said to printable text of bounded length; addresses that are none are dropped."""
    budget = _TOTAL_MAX
    addresses: list[str] = []
    for card in list((where or {}).values())[:_ADDRESSES_MAX]:
        for entry in (card.get("addrs") or [])[:_ADDRESSES_MAX]:
            address = _address(str(entry.get("addr", "")))
            if address and len(addresses) < _ADDRESSES_MAX and budget > len(address):
                budget -= len(address)
                addresses.append(address)
    return AgentFacts(
        hostname=_text(who.get("hostname", "")),
        os_name=_text(who.get("os.pretty-name") or who.get("os.name") or ""),
        addresses=tuple(addresses),
    )


def _text(value: object) -> str:
    return "".join(letter for letter in str(value)[:_TEXT_MAX] if letter.isprintable())


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value[:64].partition("%")[0]))
    except ValueError:
        return ""
