"""The part of the interface for a machine that no definition is kept of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vms.hypervisor.xml.domain import DomainSpec

if TYPE_CHECKING:
    from vms.hypervisor.driver import Roots


class Moments(Protocol):
    """Verbs on machines that live for a moment; the others (``domain``, ``screenshot``, ``pull_plug``) know them, too."""

    def start_once(self, spec: DomainSpec, *, roots: Roots) -> None:
        """Start a machine that is gone as soon as it is off, or when this connection ends, whichever is first.

        One of that uuid that runs is left as it is. ``Refused`` where uuid or name is somebody else's or one of a definition,
        or the XML leaves the allow-list. What firmware writes down (``nvram``) stays where the spec says.
        """
