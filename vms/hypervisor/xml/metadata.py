"""Whose an object on a host is: the element of ours that every domain and network carries in ``<metadata>``."""

from __future__ import annotations

from dataclasses import dataclass

from vms.hypervisor.xml.build import Element, Value, node
from vms.names import Owner

__all__ = ["NAMESPACE", "Owner", "Tag"]

NAMESPACE = "urn:guesthouse:owner:1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """What we write on an object: its owner, the tenant, the portal's id of the thing, and its generation (rising)."""

    owner: Owner
    subject: str
    tenant: str = ""
    generation: int = 0

    def element(self) -> Element:
        """``<metadata>`` holding our one element; libvirt keeps it and never reads it."""
        values: dict[str, Value] = {
            "installation": self.owner.installation,
            "epoch": self.owner.epoch,
            "subject": self.subject,
            "tenant": self.tenant,
            "generation": self.generation,
        }
        return node("metadata", None, node(f"{{{NAMESPACE}}}owner", values, nsmap={"guesthouse": NAMESPACE}))
