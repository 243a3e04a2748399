"""Reaching into a guest by its agent, within a time limit; and the end of its serial log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import libvirt

from vms.hypervisor.errors import AgentSilent, Refused
from vms.hypervisor.libvirt_driver.agent import SILENT, Agent
from vms.hypervisor.libvirt_driver.storage import Storage
from vms.hypervisor.libvirt_driver.translate import is_missing, translated

_ANSWER_S: Final = 5


class Inside(Agent, Storage):
    """The part of the driver that changes something inside a guest."""

    def agent_set_password(self, uuid: str, user: str, password: str, *, hashed: bool) -> None:
        flags = libvirt.VIR_DOMAIN_PASSWORD_ENCRYPTED if hashed else 0
        self._ask(uuid, "set a password", lambda raw: raw.setUserPassword(user, password, flags))

    def agent_add_keys(self, uuid: str, user: str, keys: Sequence[str]) -> None:
        append = libvirt.VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND
        self._ask(uuid, "add keys", lambda raw: raw.authorizedSSHKeysSet(user, list(keys), append))

    def log_tail(self, pool: str, name: str, *, most: int) -> bytes:
        with translated(f"read {name}"):
            raw_pool = self.raw.storagePoolLookupByName(pool)
            raw_pool.refresh(0)
            try:
                volume = raw_pool.storageVolLookupByName(name)
            except libvirt.libvirtError as error:
                if is_missing(error):
                    return b""
                raise
            size = volume.info()[1]
            stream = self.raw.newStream(0)
            volume.download(stream, max(0, size - most), most if size > most else 0, 0)
            tail = bytearray()
            while chunk := stream.recv(min(most, 256 * 1024)):
                tail += chunk
            stream.finish()
            return bytes(tail[-most:])

    def _ask(self, uuid: str, what: str, act: Callable[[Any], object]) -> None:
        """One command to the agent; what it answers is not looked at, and no word of it reaches a message."""
        with translated(f"{what} in {uuid}"):
            raw = self._get(uuid)
            if not raw.isActive():
                raise Refused(f"domain {uuid} does not run")
            raw.agentSetResponseTimeout(_ANSWER_S, 0)
            try:
                act(raw)
            except libvirt.libvirtError as error:
                if error.get_error_code() in SILENT:
                    raise AgentSilent(f"{what} in {uuid}: code {error.get_error_code()}") from error
                raise
