"""What guests of a ``FakeHost`` let be done to them, and what they wrote."""

from __future__ import annotations

from collections.abc import Sequence

from vms.hypervisor.errors import AgentSilent
from vms.hypervisor.fake.domains import Domains
from vms.hypervisor.fake.storage import Storage
from vms.states import Power


class Inside(Domains, Storage):
    """The protocol's verbs into guests; one listens where ``FakeHost.agent`` has an entry for it."""

    def agent_set_password(self, uuid: str, user: str, password: str, *, hashed: bool) -> None:
        with self._host.call("agent_set_password"):
            self._must_listen(uuid)
            self._host.passwords[uuid, user] = password

    def agent_add_keys(self, uuid: str, user: str, keys: Sequence[str]) -> None:
        with self._host.call("agent_add_keys"):
            self._must_listen(uuid)
            held = self._host.keys.setdefault((uuid, user), [])
            held += [key for key in keys if key not in held]

    def log_tail(self, pool: str, name: str, *, most: int) -> bytes:
        with self._host.call("log_tail"):
            return self._host.logs.get(name, b"")[-most:]

    def _must_listen(self, uuid: str) -> None:
        if self._get(uuid).power is not Power.RUNNING or uuid not in self._host.agent:
            raise AgentSilent(f"the agent of {uuid} does not answer")
