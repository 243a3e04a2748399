"""A host behind libvirt: the one package that imports it.

One module per noun, each a mix-in over ``Link``; ``connect`` opens what they add up to.
"""

from __future__ import annotations

from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.libvirt_driver.cards import Cards
from vms.hypervisor.libvirt_driver.copies import Copies
from vms.hypervisor.libvirt_driver.events import Events
from vms.hypervisor.libvirt_driver.inside import Inside
from vms.hypervisor.libvirt_driver.link import open_raw
from vms.hypervisor.libvirt_driver.members import Members
from vms.hypervisor.libvirt_driver.moments import Moments
from vms.hypervisor.libvirt_driver.sizes import Sizes
from vms.hypervisor.libvirt_driver.stats import Stats
from vms.hypervisor.libvirt_driver.trial import Trial

__all__ = ["LibvirtHypervisor", "connect"]


class LibvirtHypervisor(Trial, Inside, Moments, Sizes, Copies, Cards, Stats, Members, Events):
    """One live connection to one host; safe to use from several threads, never across a fork."""


def connect(uri: str, *, deadline_s: float = 3.0) -> Hypervisor:
    """A connection to the host at ``uri``, or ``Unreachable`` after at most about twice ``deadline_s`` seconds.

    Not for repeated use: ``vms.hypervisor.pool`` keeps one connection per process and host.
    """
    return LibvirtHypervisor(uri, open_raw(uri, deadline_s=deadline_s))
